#include "common/utf8.h"

#include <stddef.h>
#include <stdint.h>

static const struct form {
    unsigned char first, last, second_first, second_last, length, mask;
} forms[] = {
    {0x00, 0x7F, 0, 0, 1, 0x7F},       {0xC2, 0xDF, 0x80, 0xBF, 2, 0x1F},
    {0xE0, 0xE0, 0xA0, 0xBF, 3, 0x0F}, {0xE1, 0xEC, 0x80, 0xBF, 3, 0x0F},
    {0xED, 0xED, 0x80, 0x9F, 3, 0x0F}, {0xEE, 0xEF, 0x80, 0xBF, 3, 0x0F},
    {0xF0, 0xF0, 0x90, 0xBF, 4, 0x07}, {0xF1, 0xF3, 0x80, 0xBF, 4, 0x07},
    {0xF4, 0xF4, 0x80, 0x8F, 4, 0x07},
};

static unsigned read_form(const struct form *form, const unsigned char *at, size_t left,
                          uint32_t *out_code)
{
    uint32_t code = at[0] & form->mask;
    if (left < form->length)
        return 0;
    if (form->length > 1 && (at[1] < form->second_first || at[1] > form->second_last))
        return 0;
    for (unsigned i = 1; i < form->length; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3F);
    }
    *out_code = code;
    return form->length;
}

unsigned ferry__utf8_read(const void *at, size_t left, uint32_t *out_code)
{
    const unsigned char *bytes = at;
    for (size_t i = 0; left > 0 && i < sizeof forms / sizeof *forms; i++)
        if (bytes[0] >= forms[i].first && bytes[0] <= forms[i].last)
            return read_form(&forms[i], bytes, left, out_code);
    return 0;
}

unsigned ferry__utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const unsigned length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (unsigned i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)(0xF00u >> length | code);
    return length;
}
