// reader FOLDER SOURCE CURSOR[.BORN]: rows of a source (STORE.md, version 2). SOURCE is compared as the catalog has it:
// give `"`, `\`, controls JSON-escaped. Each load is an acquire, which no later load passes: that is the barriers.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static long long id, number; static char file[256];  // what the catalog says: id (0 = no such source), slot, file
static _Noreturn void die(const char *why) { fprintf(stderr, "reader: %s\n", why); exit(1); }
static long long max(long long a, long long b) { return a > b ? a : b; }
static long long load(_Atomic long long *cell) { return atomic_load_explicit(cell, memory_order_acquire); }
static unsigned crc32(const void *bytes, size_t n) {
    unsigned crc = ~0u; const unsigned char *p = bytes;
    for (size_t bit = 0; bit < 8 * n; bit++) crc = crc >> 1 ^ ((crc ^ p[bit / 8] >> bit % 8) & 1 ? 0xEDB88320u : 0);
    return ~crc;
}
static void look_up(const char *source) {
    char *line = NULL, *key; size_t room = 0; ssize_t n; int version = 0;
    FILE *catalog = fopen("catalog", "r");
    if (!catalog || asprintf(&key, "{\"source\": \"%s\", ", source) < 0) die("there is no catalog that can be read");
    for (id = 0; (n = getline(&line, &room, catalog)) > 0 && line[n - 1] == '\n';) {  // without LF: not there yet
        int good = n > 10 && strtoul(line, NULL, 16) == crc32(line + 9, n - 10);
        if (!version && (!good || sscanf(line + 9, "{\"version\": %d", &version) != 1 || version != 2)) break;
        if (good && !strncmp(line + 9, key, strlen(key)) && sscanf(line + 9 + strlen(key),  // the last line counts
            "\"id\": %lld, \"file\": \"%255[^\"]\", \"slot\": %lld", &id, file, &number) != 3) id = 0;
    }
    if (!id) die(!version ? "the catalog is damaged" : version != 2 ? "it has another version" : "no such source");
    fclose(catalog); free(line); free(key);
}
int main(int argc, char **argv) {
    if (argc != 4 || chdir(argv[1])) die("usage: reader FOLDER SOURCE CURSOR[.BORN], and the folder must be there");
    char *dot; long long said = max(0, strtoll(argv[3], &dot, 10)), size = 0; _Atomic long long *map = NULL;
    for (int tries = 0; tries < 1000; tries++, munmap(map, size), usleep(1000)) {  // again where the source has moved
        look_up(argv[2]);
        int fd = open(file, O_RDONLY); size = lseek(fd, 0, SEEK_END);
        map = size < 4096 ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        if (close(fd) || map == MAP_FAILED) continue;  // the file was removed since, or is not there yet
        int sound = !memcmp(map, "linemon\n", 8) && map[2] == 0x0102030405060708 && map[6] == crc32(map, 48);
        if (!sound || map[1] != 2) die(sound ? "the ring file is of another version" : "the ring file is damaged");
        long long width = map[3], points = map[4], slot_bytes = map[5];
        _Atomic long long *slot = map + 512 + number * (slot_bytes / 8);
        if (number < 0 || 4096 + (number + 1) * slot_bytes > size || load(slot) != id) continue;  // it moved, or grows
        long long born = load(slot + 7), head = load(slot + 2) >> 1;
        long long cursor = said > head || (*dot && born != strtoll(dot + 1, NULL, 10)) ? 0 : said;  // another life
        long long from = max(cursor, head - points), n;
        union { long long time; double num; } (*row)[1 + width] = malloc(max(1, head - from) * sizeof *row);
        for (n = from; row && n < head; n++) for (long long k = 0; k <= width; k++)
            row[n - from][k].time = load(slot + 128 + n % points * (1 + width) + k);
        long long reserved = load(slot + 1), low = max(cursor, reserved - points);  // before id: a new owner zeroes it
        if (load(slot) != id) { free(row); continue; }
        if (!row || head < 0 || reserved < head) die("the slot is damaged, or there is no memory");
        for (n = max(from, low); n < head; n++, putchar('\n')) {
            printf("%lld %lld", n, row[n - from][0].time);
            for (int k = 1; k <= width; k++) { double v = row[n - from][k].num; printf(v == v ? " %.17g" : " nan", v); }
        }
        return printf("cursor %lld.%lld missed %lld\n", head, born, max(0, (low < head ? low : head) - cursor)) < 0;
    }
    die("the source is not where the catalog says, or its file is missing or too short");
}
