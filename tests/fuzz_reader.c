/* libFuzzer on the C reader, by itself: `make fuzz-reader`. What it reads and writes is allocated to the byte, so that
   AddressSanitizer sees one too many. That the answers are right is what tests/fuzz.py looks for.

   The first three bytes of an input say which function reads the rest, and how much room there is. */

#include "../linemon/lines/_reader.c"
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    Py_Initialize();
    return 0;
}

/* Memory of its own for each view, so that its end is an end. */
static PyObject *view(const void *from, size_t size, void **memory) {
    *memory = malloc(size ? size : 1);
    if (from) memcpy(*memory, from, size);
    return PyMemoryView_FromMemory(*memory, (Py_ssize_t)size, from ? PyBUF_READ : PyBUF_WRITE);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static PyObject *known;
    void *memory[3] = {NULL, NULL, NULL};
    PyObject *args, *answer;
    if (size < 4 || data[size - 1] != '\n') return 0;
    unsigned how = data[0], first = data[1], second = data[2];
    data += 3, size -= 3;
    if (how % 4 == 0) {
        Py_ssize_t tokens = 1 + first % 8, time_at = second % 9 - 1, room = tokens + 1 + how / 4 % 3;
        PyObject *cells = view(NULL, size / (2 * (size_t)tokens) * (size_t)room * 8, &memory[0]);
        if (time_at >= tokens) time_at = -1;
        args = Py_BuildValue("([y#]nnnLN)", data, (Py_ssize_t)size, tokens, time_at, room, 5LL, cells);
        answer = rows(NULL, args);
    } else if (how % 4 < 3) { /* some names are known after a while */
        if (!known) known = PyDict_New();
        PyObject *block = view(data, size, &memory[0]), *space = view(NULL, (size / 4 + first % 3) * 32, &memory[1]);
        long long unit = second % 4 ? 0 : second, now = YEAR_2000 + 5;
        args = Py_BuildValue("(NOiLLN)", block, known, how % 4 == 2, unit, now, space);
        answer = named(NULL, args);
        if (answer && answer != Py_None) {
            PyObject *unknown = PyTuple_GetItem(answer, 2), *place = PyLong_FromLongLong(7LL << 32 | 3);
            for (Py_ssize_t i = 0; i < PyList_Size(unknown) && PyDict_Size(known) < 1000; i += 2)
                PyDict_SetItem(known, PyList_GetItem(unknown, i), place);
            Py_DECREF(place);
        }
    } else { /* the texts are the lines up to a byte 0 */
        const unsigned char *cut = memchr(data, 0, size);
        size_t at = cut ? (size_t)(cut - data) : 0;
        PyObject *texts = view(data, at, &memory[0]);
        PyObject *block = cut ? view(cut + 1, size - at - 1, &memory[1]) : view(data, size, &memory[1]);
        PyObject *numbers = view(NULL, first % 16 * 8, &memory[2]);
        Py_ssize_t time_at = second % 5 - 1;
        args = Py_BuildValue("(NNinLON)", block, texts, how / 4 % 2, time_at, 5LL, numbers, numbers);
        answer = alike(NULL, args);
    }
    if (!answer) PyErr_Clear();
    Py_XDECREF(answer);
    Py_DECREF(args);
    for (int i = 0; i < 3; i++) free(memory[i]);
    return 0;
}
