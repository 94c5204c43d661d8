/* Many lines at once: bytes in, arrays out. It is built where there is a C compiler, and only makes things quick.

   What a line means is said in Python, by wire.py, names.py, influx.py, fields.py and when.py. What is read here is what
   they would read, to the bit; a line that is not plainly one of the forms below goes back to them. bulk.py is the
   only file that knows of this one, and says what its functions take and give.

   All that is read ends with a newline, and every loop over characters stops at one: none has to look for the end.
   Nothing is allocated for a block but the list of what goes back: all arrays are the caller's. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef const unsigned char *Text;
enum form { PLAIN, IN_ROW, JSON }; /* IN_ROW: `NA` and its like are missing; JSON: its numbers alone */
enum { LONGEST_NUMBER = 400, FEW = 16 };

static inline int is_digit(unsigned char c) { return (unsigned char)(c - '0') < 10; }

static inline Text blanks(Text at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* Whether a token ends here. */
static inline int ends(Text at)
{
    return *at == ' ' || *at == '\t' || *at == '\n' || (*at == '\r' && at[1] == '\n');
}

/* The newline, where nothing but blanks stands before it; else NULL. */
static inline Text newline(Text at)
{
    at = blanks(at);
    at += *at == '\r';
    return *at == '\n' ? at : NULL;
}

/* -- numbers */

#if FLT_EVAL_METHOD == 0
#define HAS_EXACT_ARITHMETIC 1 /* one operation on doubles rounds once */
#else
#define HAS_EXACT_ARITHMETIC 0
#endif

static const double TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#ifdef __SIZEOF_INT128__
enum { MAX_POWER = 27 }; /* 5^27 fits into 63 bits */

static int bits_of(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

/* The double nearest to digits * 10^power, by whole numbers: for digits that are not 0 and |power| <= MAX_POWER. */
static double nearest(uint64_t digits, int power)
{
    uint64_t fives = 1, found, rest;
    for (int i = power < 0 ? -power : power; i; i--)
        fives *= 5;
    int exponent = power; /* digits * 10^power = found * 2^exponent, and rest is what is below */
    if (power >= 0) {
        unsigned __int128 product = (unsigned __int128)digits * fives;
        int below = bits_of((uint64_t)(product >> 64));
        found = (uint64_t)(product >> below);
        rest = (uint64_t)product & ((below ? UINT64_MAX >> (64 - below) : 0));
        exponent += below;
    } else {
        int up = 64 - bits_of(digits), fives_up = 64 - bits_of(fives);
        unsigned __int128 dividend = (unsigned __int128)(digits << up) << 63;
        fives <<= fives_up;
        found = (uint64_t)(dividend / fives);
        rest = (uint64_t)(dividend % fives);
        exponent += fives_up - up - 63;
    }
    int below = bits_of(found) - DBL_MANT_DIG;
    if (below > 0) { /* round to even */
        uint64_t half = (uint64_t)1 << (below - 1), cut = found & (2 * half - 1);
        found >>= below;
        found += cut > half || (cut == half && (rest || (found & 1)));
        exponent += below;
    }
    uint64_t scale = (uint64_t)(1023 + exponent) << 52; /* 2^exponent as a double; far from the ends of its range */
    double two;
    memcpy(&two, &scale, sizeof two);
    return (double)found * two;
}
#else
enum { MAX_POWER = -1 };
static double nearest(uint64_t digits, int power) { return (double)digits * power; }
#endif

/* What float() makes of a number that is written plainly; 0 where it is too long, or overflows. */
static int slowly(Text start, Text end, double *value)
{
    char copy[LONGEST_NUMBER + 1];
    if (end - start > LONGEST_NUMBER)
        return 0;
    memcpy(copy, start, (size_t)(end - start));
    copy[end - start] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return isfinite(*value);
}

typedef struct {
    double value;
    uint64_t digits; /* of a whole number */
    int is_whole;    /* no point, no exponent, and no more than 19 digits */
    int is_negative;
} Number;

/* Read what `wire.number` calls a number; where it ends, or NULL. */
static inline Text number(Text at, enum form form, Number *found)
{
    uint64_t digits = 0;
    int power = 0, is_whole = 1;
    found->is_negative = *at == '-';
    at += *at == '-' || (*at == '+' && form != JSON);
    Text start = at, fraction;
    for (; is_digit(*at); at++)
        digits = 10 * digits + (uint64_t)(*at - '0');
    Py_ssize_t count = at - start;
    if (form == JSON && (count == 0 || (count > 1 && *start == '0')))
        return NULL;
    if (*at == '.') {
        is_whole = 0;
        for (fraction = ++at; is_digit(*at); at++)
            digits = 10 * digits + (uint64_t)(*at - '0');
        count += at - fraction;
        if (at - fraction > LONGEST_NUMBER || (form == JSON && at == fraction))
            return NULL;
        power = (int)(fraction - at);
    }
    if (count == 0)
        return NULL;
    if (*at == 'e' || *at == 'E') {
        is_whole = 0;
        int sign = *++at == '-' ? -1 : 1, exponent = 0;
        at += *at == '-' || *at == '+';
        if (!is_digit(*at))
            return NULL;
        for (; is_digit(*at); at++)
            exponent = exponent < 10000 ? 10 * exponent + (*at - '0') : exponent;
        power += sign * exponent;
    }
    double value;
    if (count <= 19 && digits == 0)
        value = 0;
    else if (HAS_EXACT_ARITHMETIC && count <= 19 && digits <= (uint64_t)1 << 53 && -22 <= power && power <= 22)
        value = power < 0 ? (double)digits / TEN[-power] : (double)digits * TEN[power]; /* Clinger, PLDI 1990 */
    else if (count <= 19 && -MAX_POWER <= power && power <= MAX_POWER)
        value = nearest(digits, power);
    else if (!slowly(start, at, &value))
        return NULL;
    found->value = found->is_negative && !(is_whole && value == 0) ? -value : value; /* the whole zero has no sign */
    found->is_whole = is_whole && count <= 19;
    found->digits = digits;
    return at;
}

/* Where the word ends that stands here in any case, or NULL; `word` is in lower case. */
static Text after_word(Text at, const char *word)
{
    for (; *word; word++, at++)
        if (*at != *word && !('a' <= *word && *word <= 'z' && (*at | 32) == *word))
            return NULL;
    return ends(at) || *at == ',' ? at : NULL;
}

/* Read a number, or a word for a missing one; where it ends, or NULL. */
static inline Text value(Text at, enum form form, double *cell)
{
    static const char *const words[] = {"nan", "inf", "infinity", "na", "n/a", "null", "none", "-"};
    Number found;
    Text end = number(at, form, &found);
    if (end)
        *cell = found.value;
    else if (form != JSON) {
        for (int i = 0; !end && i < (form == IN_ROW ? 8 : 3); i++)
            end = after_word(at + (i < 3 && (*at == '-' || *at == '+')), words[i]);
        *cell = NAN;
    }
    return end;
}

/* Read an epoch time into ns; where it ends, or NULL where when.py, or body.py for a unit in ns, has its say. */
static Text moment(Text at, enum form form, int64_t unit, int64_t now, int64_t *ns)
{
    Number found;
    Text end = number(at, form, &found);
    if (end && found.value == -1 && !unit) {
        *ns = now;
        return end;
    }
    if (!end || found.value < 0 || (!found.is_whole && (unit || found.value >= 0x1p53)))
        return NULL;
    uint64_t whole = found.is_whole ? found.digits : (uint64_t)found.value;
    if (!unit)
        unit = whole < 100000000000u ? 1000000000 : whole < 100000000000000u ? 1000000 : whole < 100000000000000000u ? 1000 : 1;
    if (whole >= (uint64_t)(INT64_MAX / unit) - 1)
        return NULL;
    if (found.is_whole || (double)whole == found.value)
        *ns = (int64_t)whole * unit;
    else { /* to the microsecond, rounded to even */
        double us = found.value * ((double)unit / 1000);
        *ns = (int64_t)(us < 0x1p52 ? (us + 0x1p52) - 0x1p52 : us) * 1000;
    }
    return end;
}

/* -- rows */

typedef struct {
    Py_ssize_t tokens, time_at, room; /* time_at: -1 for none; room: cells a row, the time in front */
    int64_t now;
} Shape;

/* Read one row; its newline, or NULL where the line is not plainly a row of this shape. */
static Text row(Text at, const Shape *shape, double *cells)
{
    double *cell = cells + 1;
    int64_t ns = shape->now;
    for (Py_ssize_t i = 0; i < shape->tokens; i++) {
        at = blanks(at);
        at = i == shape->time_at ? moment(at, PLAIN, 0, shape->now, &ns) : value(at, IN_ROW, cell++);
        if (!at || !ends(at))
            return NULL;
    }
    memcpy(cells, &ns, sizeof ns);
    while (cell < cells + shape->room)
        *cell++ = NAN;
    return newline(at);
}

/* Put an item into a list, and let go of it; 0 with an error set where that, or the item, failed. */
static int append(PyObject *list, PyObject *item)
{
    int is_done = item && PyList_Append(list, item) == 0;
    Py_XDECREF(item);
    return is_done;
}

/* Where a block begins, or NULL with an error set. */
static Text text_of(const char *block, Py_ssize_t size)
{
    if (size && block[size - 1] == '\n')
        return (Text)block;
    PyErr_SetString(PyExc_ValueError, "a block ends with a newline");
    return NULL;
}

static PyObject *rows(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *blocks, *odd = PyList_New(0), *lines = PyList_New(0), *answer = NULL;
    Shape shape;
    long long now;
    Py_buffer cells = {0};
    if (!odd || !lines ||
        !PyArg_ParseTuple(args, "O!nnnLw*", &PyList_Type, &blocks, &shape.tokens, &shape.time_at, &shape.room, &now, &cells))
        goto done;
    if (shape.tokens < 1 || shape.room < 1 + shape.tokens - (shape.time_at >= 0)) {
        PyErr_SetString(PyExc_ValueError, "no room for a row");
        goto done;
    }
    shape.now = now;
    Py_ssize_t count = 0, index = 0, most = cells.len / (Py_ssize_t)sizeof(double) / shape.room;
    int are_few = 1;
    for (Py_ssize_t i = 0; are_few && i < PyList_Size(blocks); i++) {
        char *block;
        Py_ssize_t size, before = index;
        Text at, end, stop;
        if (PyBytes_AsStringAndSize(PyList_GetItem(blocks, i), &block, &size) < 0 || !(at = text_of(block, size)))
            goto done;
        for (end = at + size; are_few && at < end; at = stop + 1, index++) {
            stop = count < most ? row(at, &shape, (double *)cells.buf + count * shape.room) : NULL;
            if (stop) {
                count++;
                continue;
            }
            stop = memchr(at, '\n', (size_t)(end - at));
            if (!append(odd, Py_BuildValue("ny#", index, at, (Py_ssize_t)(stop - at))))
                goto done;
            are_few = PyList_Size(odd) < 100 || FEW * PyList_Size(odd) <= index;
        }
        if (!append(lines, PyLong_FromSsize_t(index - before)))
            goto done;
    }
    are_few = are_few && FEW * PyList_Size(odd) <= index;
    answer = are_few ? Py_BuildValue("nOO", count, lines, odd) : Py_NewRef(Py_None);
done:
    if (cells.obj)
        PyBuffer_Release(&cells);
    Py_XDECREF(odd);
    Py_XDECREF(lines);
    return answer;
}

static PyMethodDef functions[] = {
    {"rows", rows, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_reader", .m_methods = functions, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__reader(void) { return PyModuleDef_Init(&module); }
