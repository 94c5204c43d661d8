/* Many lines at once: bytes in, arrays out. It is built where there is a C compiler, and only makes things quick.

   What a line means is said in Python, by wire.py, names.py, influx.py, fields.py and when.py. Here common forms are
   read as there, to the bit, and whatever is not plainly one goes back. _reader.pyi has what goes in and out.
   All that is read ends with a newline, and every loop over characters stops at one: none has to look for the end.
   Nothing is allocated by what is in a block but the lists that go back, and MET keys: the arrays are the caller's. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef const unsigned char *Text;
enum form { PLAIN, IN_ROW, JSON }; /* IN_ROW: `NA` and its like are missing; JSON: its numbers alone */
enum { POINT = 1, METRIC, LONGEST_NUMBER = 400, LONGEST_KEY = 2048, MOST_UNKNOWN = 4096, FEW = 16, MET = 1024 };
#define YEAR_2000 INT64_C(946684800000000000)

static inline int is_blank(unsigned char c) { return c == ' ' || c == '\t'; }

static inline Text blanks(Text at) {
    while (is_blank(*at)) at++;
    return at;
}

/* Whether a token ends here. */
static inline int ends(Text at) { return is_blank(*at) || *at == '\n' || (*at == '\r' && at[1] == '\n'); }

/* The newline, where nothing but blanks stands before it; else NULL. */
static inline Text newline(Text at) {
    at = blanks(at);
    at += *at == '\r';
    return *at == '\n' ? at : NULL;
}

/* -- numbers */

static const double TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#ifdef __SIZEOF_INT128__
/* The double nearest to digits * 10^power, in whole numbers: digits are not 0, and |power| <= 27 (5^27 has 63 bits). */
static double nearest(uint64_t digits, int power) {
    unsigned __int128 many = digits;
    uint64_t fives = 1, found; /* times 2^(power + over); its last bit is 1 if there is some more */
    int over;
    for (int i = power < 0 ? -power : power; i; i--) fives *= 5;
    if (power < 0) {
        over = -(__builtin_clzll(digits) + 63 - __builtin_clzll(fives)); /* the quotient fits into 64 bits */
        found = (uint64_t)((many <<= -over) / fives);
        found |= (unsigned __int128)found * fives != many;
    } else {
        uint64_t high = (uint64_t)((many *= fives) >> 64);
        over = high ? 64 - __builtin_clzll(high) : 0;
        found = (uint64_t)(many >> over) | ((many & (((unsigned __int128)1 << over) - 1)) != 0);
    }
    int below = 64 - __builtin_clzll(found) - DBL_MANT_DIG;
    if (below > 0) { /* to the nearest, halves to even */
        uint64_t half = (uint64_t)1 << (below - 1), cut = found & (2 * half - 1);
        found >>= below;
        found += cut > half || (cut == half && (found & 1));
        over += below;
    }
    return ldexp((double)found, power + over);
}
#endif

/* What float() makes of a number that is written plainly; 0 where it is too long, or overflows. */
static int slowly(Text start, Text end, double *value) {
    char copy[LONGEST_NUMBER + 1];
    if (end - start > LONGEST_NUMBER) return 0;
    memcpy(copy, start, (size_t)(end - start));
    copy[end - start] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    PyErr_Clear(); /* no memory: it is -1 then, which no number without its sign is */
    return isfinite(*value) && *value >= 0;
}

typedef struct {
    double value;
    uint64_t digits;           /* of a whole number */
    int is_whole, is_negative; /* whole: without a point and an exponent, in no more than 19 digits */
} Number;

/* The rest of a number with these digits, where there is an exponent or many of them; where it ends, or NULL. */
static Text longer(Text start, Text at, Py_ssize_t count, int power, Number *found) {
    if (*at == 'e' || *at == 'E') {
        found->is_whole = 0;
        int sign = *++at == '-' ? -1 : 1, exponent = 0;
        at += *at == '-' || *at == '+';
        if (*at < '0' || *at > '9') return NULL;
        for (; *at >= '0' && *at <= '9'; at++) exponent = exponent < 10000 ? 10 * exponent + (*at - '0') : exponent;
        power += sign * exponent;
    }
    found->is_whole &= count <= 19;
    if (count <= 19 && found->digits == 0)
        found->value = 0;
    else if (FLT_EVAL_METHOD == 0 && count <= 19 && found->digits <= (uint64_t)1 << 53 && -22 <= power && power <= 22)
        found->value = power < 0 ? (double)found->digits / TEN[-power] : (double)found->digits * TEN[power];
#ifdef __SIZEOF_INT128__
    else if (count <= 19 && -27 <= power && power <= 27)
        found->value = nearest(found->digits, power);
#endif
    else if (!slowly(start, at, &found->value))
        return NULL;
    return at;
}

/* Read what `wire.number` calls a number; where it ends, or NULL. */
static inline __attribute__((always_inline)) Text number(Text at, enum form form, Number *found) {
    Number it = {0};
    if (*at < '0') { /* most have no sign: to go on without having looked is quicker */
        it.is_negative = *at == '-';
        at += *at == '-' || (*at == '+' && form != JSON);
    }
    uint64_t c;
    Text start = at;
    for (; (c = (uint64_t)*at - '0') < 10; at++) it.digits = 10 * it.digits + c;
    Py_ssize_t count = at - start, places = 0;
    if (form == JSON && (count == 0 || (count > 1 && *start == '0'))) return NULL;
    it.is_whole = *at != '.';
    if (!it.is_whole) {
        Text fraction = ++at;
        for (; (c = (uint64_t)*at - '0') < 10; at++) it.digits = 10 * it.digits + c;
        count += places = at - fraction;
        if (form == JSON && places == 0) return NULL;
    }
    if (FLT_EVAL_METHOD == 0 && (size_t)count - 1 < 15 && (*at | 32) != 'e') {
        it.value = (double)it.digits / TEN[places]; /* rounds once: Clinger, 1990 */
    } else {
        Number longest = it; /* this one alone is in memory */
        if (!count || places > LONGEST_NUMBER || !(at = longer(start, at, count, -(int)places, &longest))) return NULL;
        it = longest;
    }
    if (it.is_negative && !(it.is_whole && it.value == 0)) it.value = -it.value; /* the whole zero has no sign */
    *found = it;
    return at;
}

/* Where the word ends that stands here in any case, or NULL; `word` is in lower case. */
static Text after_word(Text at, const char *word) {
    for (; *word; word++, at++)
        if (*at != *word && !('a' <= *word && *word <= 'z' && (*at | 32) == *word)) return NULL;
    return ends(at) || *at == ',' ? at : NULL;
}

/* Read a number, or a word for a missing one; where it ends, or NULL. */
static inline __attribute__((always_inline)) Text value(Text at, enum form form, double *cell) {
    static const char *const words[] = {"nan", "inf", "infinity", "na", "n/a", "null", "none", "-"};
    Number found;
    Text end = number(at, form, &found);
    *cell = end ? found.value : NAN;
    for (int i = 0; !end && i < (form == JSON ? 0 : form == PLAIN ? 3 : 8); i++)
        end = after_word(at + (i < 3 && (*at == '-' || *at == '+')), words[i]);
    return end;
}

/* Read an epoch time into ns; where it ends, or NULL where when.py, or body.py for a unit in ns, has its say. */
static Text moment(Text at, enum form form, int64_t unit, int64_t now, int64_t *ns) {
    Number found;
    Text end = number(at, form, &found);
    *ns = now;
    if (end && found.value == -1 && !unit) return end;
    if (!end || found.value < 0 || (!found.is_whole && (unit || found.value >= 0x1p53))) return NULL;
    uint64_t whole = found.is_whole ? found.digits : (uint64_t)found.value;
    if (!unit)
        unit = whole < 100000000000 ? 1000000000 : whole < 100000000000000 ? 1000000
               : whole < 100000000000000000 ? 1000 : 1;
    if (whole >= (uint64_t)(INT64_MAX / unit) - 1) return NULL;
    double us = found.value * ((double)unit / 1000); /* with a part of a unit: to the microsecond, halves to even */
    int is_exact = found.is_whole || (double)whole == found.value;
    *ns = is_exact ? (int64_t)whole * unit : (int64_t)(us < 0x1p52 ? (us + 0x1p52) - 0x1p52 : us) * 1000;
    return end;
}

/* Read a row into cells, its time in front, nan behind; its newline, or NULL where it is not plainly a row. */
static inline Text row(Text at, Py_ssize_t tokens, Py_ssize_t time_at, int64_t now, double *cells, Py_ssize_t room) {
    double *cell = cells + 1;
    for (Py_ssize_t i = 0; i < tokens; i++) {
        at = blanks(at);
        at = i == time_at ? moment(at, PLAIN, 0, now, &now) : value(at, IN_ROW, cell++);
        if (!at || !ends(at)) return NULL;
    }
    memcpy(cells, &now, sizeof now);
    while (cell < cells + room) *cell++ = NAN;
    return newline(at);
}

/* Put a new item into a list; 0 with an error set where that, or the item, failed. */
static int append(PyObject *list, PyObject *item) {
    int is_done = item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return is_done;
}

/* Where a block begins, or NULL with an error set. */
static Text text_of(const char *block, Py_ssize_t size) {
    if (size && block[size - 1] == '\n') return (Text)block;
    PyErr_SetString(PyExc_ValueError, "a block ends with a newline");
    return NULL;
}

static PyObject *rows(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *blocks, *odd = PyList_New(0), *lines = PyList_New(0), *answer = NULL;
    Py_ssize_t tokens, time_at, room, count = 0, index = 0, most, are_few = 1, strange = 0; /* how many are odd */
    long long now;
    Py_buffer cells = {0};
    if (!odd || !lines ||
        !PyArg_ParseTuple(args, "O!nnnLw*", &PyList_Type, &blocks, &tokens, &time_at, &room, &now, &cells))
        goto done;
    most = room < 1 + tokens - (time_at >= 0) ? 0 : cells.len / 8 / room;
    for (Py_ssize_t i = 0; are_few && i < PyList_Size(blocks); i++) {
        char *block;
        Py_ssize_t size, before = index;
        Text at, end, stop;
        if (PyBytes_AsStringAndSize(PyList_GetItem(blocks, i), &block, &size) < 0 || !(at = text_of(block, size)))
            goto done;
        for (end = at + size; are_few && at < end; at = stop + 1) {
            stop = count < most ? row(at, tokens, time_at, now, (double *)cells.buf + count * room, room) : NULL;
            count += stop != NULL;
            if (!stop && (stop = memchr(at, '\n', (size_t)(end - at))) && ++strange &&
                !append(odd, Py_BuildValue("ny#", index, at, (Py_ssize_t)(stop - at))))
                goto done;
            are_few = FEW * strange <= ++index || strange < 100;
        }
        if (!append(lines, PyLong_FromSsize_t(index - before))) goto done;
    }
    answer = are_few && FEW * strange <= index ? Py_BuildValue("nOO", count, lines, odd) : Py_NewRef(Py_None);
done:
    PyBuffer_Release(&cells);
    Py_XDECREF(odd);
    Py_XDECREF(lines);
    return answer;
}

/* -- lines that name their source */

typedef struct {
    Text key;
    size_t size; /* of the key */
    unsigned char copy[LONGEST_KEY];
    double *value, *end; /* where the next one goes, and where there is no more room */
    long long unit, now;
    int64_t ns;
    int kind; /* POINT, METRIC, or 0: what the first line is */
} Line;

/* Where a name ends, or needs another look. */
static const char SPECIAL[256] = {['\n'] = 1, ['\r'] = 1, ['\t'] = 1, [' '] = 1, ['"'] = 1, ['\\'] = 1, ['{'] = 1};

/* Put a piece behind what there is of the key; 0 where it gets too long. */
static int add(Line *line, char before, Text start, Text end) {
    size_t size = (size_t)(end - start);
    if (line->size + 1 + size > LONGEST_KEY) return 0;
    line->copy[line->size++] = (unsigned char)before;
    memcpy(line->copy + line->size, start, size);
    line->size += size;
    return 1;
}

/* Read the value of a point's field; where it ends, or NULL. */
static Text field(Text at, double *cell) {
    static const char *const words[] = {"true", "True", "TRUE", "t", "T", "false", "False", "FALSE", "f", "F"};
    Number found;
    Text end = number(at, PLAIN, &found);
    if (end) {
        *cell = found.value;
        if (*end != 'i' && *end != 'u') return end;
        return found.is_whole && found.digits <= INT64_MAX && !(*end == 'u' && found.is_negative) ? end + 1 : NULL;
    }
    for (int i = 0; i < 10 && !end; i++) {
        *cell = i < 5;
        end = !strncmp((const char *)at, words[i], strlen(words[i])) ? after_word(at, words[i]) : NULL;
    }
    return end ? end : value(at, PLAIN, cell);
}

/* Read a metric or a point: its key, values and time; its newline, or NULL. */
static Text named_line(Text at, Line *line) {
    Text head = at = blanks(at), start, end = NULL;
    while (!SPECIAL[*at]) at++;
    if (*at == '{') { /* of Prometheus, in which blanks may be */
        while (*at != '}' && *at != '\n') at++;
        at += *at == '}';
    }
    if (at == head || !is_blank(*at) || line->value == line->end) return NULL;
    line->key = head;
    line->size = (size_t)(at - head);
    start = blanks(at);
    if (line->kind != POINT) end = value(start, PLAIN, line->value);
    if (end && ends(end)) {
        line->value++;
        at = end;
    } else { /* as a key: what stands before the fields, a newline, and the names of the fields */
        line->key = line->copy;
        line->size = 0;
        if (line->kind == METRIC || at[-1] == '}' || !add(line, *head, head + 1, at)) return NULL;
        for (char before = '\n'; before; before = *at == ',' ? *at : 0, start = at + 1) {
            for (at = start; !SPECIAL[*at] && *at != '=' && *at != ',';) at++;
            if (*at != '=' || at == start || line->value == line->end || !add(line, before, start, at) ||
                !(at = field(at + 1, line->value++)))
                return NULL;
        }
    }
    line->kind = line->key == head ? METRIC : POINT; /* one of the others may give its source more columns */
    line->ns = line->now;
    end = newline(at);
    if (!end && ends(at)) {
        at = moment(blanks(at), PLAIN, line->kind == METRIC ? 0 : line->unit, line->now, &line->ns);
        end = at && ends(at) ? newline(at) : NULL;
    }
    return line->kind == METRIC && line->ns < YEAR_2000 ? NULL : end;
}

/* A key that a block had before: to make an object of each, and have it looked up, takes longer than all else. */
typedef struct { PyObject *key; Text text; size_t size; int64_t place; } Met;

/* Where in a list of MET it would stand. Whoever has many keys meet there gains nothing: they are looked up. */
static size_t met_at(Text key, size_t size) {
    uint64_t hash = size, word = 0;
    for (size_t at = 0; at < size; at += 8) {
        memcpy(&word, size < 8 ? key : key + (at + 8 > size ? size - 8 : at), size < 8 ? size : 8);
        hash = (hash ^ hash >> 32 ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return hash >> 54;
}

static PyObject *named(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *places, *unknown = PyList_New(0), *answer = NULL;
    Py_buffer block = {0}, out = {0};
    Met mets[MET] = {0}, *met;
    Line line;
    Text at;
    if (!unknown || !PyArg_ParseTuple(args, "y*O!pLLw*", &block, &PyDict_Type, &places, &line.kind, &line.unit,
                                      &line.now, &out) || !(at = text_of(block.buf, block.len)))
        goto done;
    Py_ssize_t count = 0, strange = 0, most = out.len / 4 / (Py_ssize_t)sizeof(int64_t);
    int64_t *slots = out.buf, *targets = slots + most, *times = targets + most;
    double *values = line.value = (double *)(times + most);
    line.end = values + most;
    for (Text end = at + block.len; at < end && strange < MOST_UNKNOWN; at++, count++) {
        if (!(at = named_line(at, &line))) break;
        met = &mets[met_at(line.key, line.size)];
        if (!met->key || met->size != line.size || memcmp(met->text, line.key, line.size)) {
            Py_XDECREF(met->key);
            met->key = PyBytes_FromStringAndSize((const char *)line.key, (Py_ssize_t)line.size);
            PyObject *place = met->key ? PyDict_GetItemWithError(places, met->key) : NULL;
            met->place = place ? PyLong_AsLongLong(place) : 0;
            if (!place && ++strange && !PyErr_Occurred()) PyList_Append(unknown, met->key);
            if (PyErr_Occurred()) goto done;
            met->text = (Text)PyBytes_AsString(met->key);
            met->size = line.size;
        }
        slots[count] = met->place >> 32;
        targets[count] = met->place & 0xFFFFFFFF;
        times[count] = line.ns;
    }
    answer = at ? Py_BuildValue("nnO", count, (Py_ssize_t)(line.value - values), unknown) : Py_NewRef(Py_None);
done:
    PyBuffer_Release(&block);
    PyBuffer_Release(&out);
    for (met = mets; met < mets + MET; met++) Py_XDECREF(met->key);
    Py_XDECREF(unknown);
    return answer;
}

static PyObject *alike(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer views[4], *block = views, *texts = views + 1, *values = views + 2, *times = views + 3;
    Py_ssize_t time_at;
    long long now;
    int form, is_read = 1; /* form: whether it is JSON, first */
    if (!PyArg_ParseTuple(args, "y*y*pnLw*w*", block, texts, &form, &time_at, &now, values, times)) return NULL;
    form = form ? JSON : PLAIN;
    Text at = text_of(block->buf, block->len), end = (Text)block->buf + block->len;
    Text text, first = text_of(texts->buf, texts->len), texts_end = (Text)texts->buf + texts->len;
    double *cell = values->buf, *cells_end = cell + values->len / 8;
    int64_t *ns = times->buf, *times_end = ns + times->len / 8;
    while (at && first && is_read && at < end) {
        if ((is_read = ns < times_end)) *ns = now;
        text = first;
        for (Py_ssize_t i = 0; is_read; i++) {
            for (; *text != '\n' && *text == *at; text++) at++;
            if (*text != '\n' || ++text == texts_end) {
                is_read = text == texts_end && *at++ == '\n';
                break;
            }
            at = i == time_at ? moment(at, form, 0, now, ns) : cell < cells_end ? value(at, form, cell++) : NULL;
            is_read = at != NULL;
        }
        ns++;
    }
    for (int i = 0; i < 4; i++) PyBuffer_Release(views + i);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(is_read);
}

static PyMethodDef functions[] = {{"rows", rows, METH_VARARGS, NULL}, {"named", named, METH_VARARGS, NULL},
                                  {"alike", alike, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_reader", NULL, 0, functions, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__reader(void) { return PyModule_Create(&module); }
