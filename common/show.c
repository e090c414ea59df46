#include "common/show.h"

#include "common/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool ferry__is_shown(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x1F},       {0x7F, 0x9F},     /* C0, DEL and C1 */
        {0x61C, 0x61C},     {0x200E, 0x200F}, /* Arabic letter mark, left-to-right, right-to-left */
        {0x2028, 0x202E},   {0x2066, 0x206F}, /* line ends, embeddings, overrides, isolates */
        {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB}, /* byte order mark, annotations */
        {0xE0000, 0xE007F},                   /* tags */
    };
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (code >= hidden[i].first && code <= hidden[i].last)
            return false;
    return true;
}

/* How the next character is written; returns how many bytes of text it is. */
static size_t show_one(const char *text, char out[12])
{
    uint32_t code = 0;
    const unsigned length = ferry__utf8_read(text, strnlen(text, 4), &code);
    if (length > 0 && ferry__is_shown(code)) {
        memcpy(out, text, length);
        out[length] = '\0';
        return length;
    }
    if (*text == '\n')
        strcpy(out, "\\n");
    else if (length <= 1)
        snprintf(out, 12, "\\x%02x", (unsigned char)*text);
    else
        snprintf(out, 12, code > 0xFFFF ? "\\U%08x" : "\\u%04x", (unsigned)code);
    return length > 0 ? length : 1;
}

size_t ferry__show_text(char *out, size_t capacity, const char *text)
{
    char piece[12];
    size_t at = 0, room_for_dots = 0; /* the last place where "..." still fits */
    while (*text != '\0') {
        const size_t step = show_one(text, piece), length = strlen(piece);
        if (at + length >= capacity) {
            strcpy(out + room_for_dots, "...");
            return room_for_dots + 3;
        }
        memcpy(out + at, piece, length);
        at += length;
        text += step;
        if (at + 3 < capacity)
            room_for_dots = at;
    }
    out[at] = '\0';
    return at;
}
