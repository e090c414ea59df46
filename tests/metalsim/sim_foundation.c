/* NSString, NSArray and NSError, as far as the driver uses them. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- strings ---------------------------------------------------------------------------------- */

mtl_id sim_string(const char *text)
{
    struct sim_string *string = sim_make(SIM_STRING);
    string->text = strdup(text);
    return sim_autorelease(string);
}

void sim_string_dealloc(struct sim_object *object)
{
    struct sim_string *string = (struct sim_string *)object;
    memset(string->text, '#', strlen(string->text)); /* UTF8String does not outlive the string */
    free(string->text);
}

/* Only what a decoder of UTF-8 must refuse and tests use: stray and missing continuation bytes. */
static bool is_utf8(const char *text)
{
    int left = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool continues = (*p & 0xc0) == 0x80;
        if (continues != (left > 0) || *p >= 0xf8)
            return false;
        left = continues ? left - 1 : *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
    }
    return left == 0;
}

static mtl_id string_with(mtl_id self, mtl_sel cmd, const char *text)
{
    (void)self, (void)cmd;
    return is_utf8(text) ? sim_string(text) : NULL;
}

static const char *string_utf8(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_string *)self)->text;
}

const struct sim_method sim_string_methods[] = {SIM_METHOD(utf8, string_utf8), {0, NULL}};
const struct sim_method sim_string_class_methods[] = {SIM_METHOD(string_with, string_with),
                                                      {0, NULL}};

/* --- arrays ----------------------------------------------------------------------------------- */

static uint64_t array_count(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_array *)self)->count;
}

static mtl_id array_at(mtl_id self, mtl_sel cmd, uint64_t index)
{
    (void)cmd;
    struct sim_array *array = (struct sim_array *)self;
    if (index < array->count)
        return array->items[index];
    sim_breach(METALSIM_RANGE, "item %d of an array of %d", (int)index, (int)array->count);
    return NULL;
}

void sim_array_dealloc(struct sim_object *object)
{
    struct sim_array *array = (struct sim_array *)object;
    for (uint64_t i = 0; i < array->count; i++)
        sim_release(array->items[i]);
}

const struct sim_method sim_array_methods[] = {
    SIM_METHOD(array_count, array_count), SIM_METHOD(array_at, array_at), {0, NULL}};

/* --- errors ----------------------------------------------------------------------------------- */

static const char *const error_words[] = {
    [MTL_ERROR_INTERNAL] = "Internal Error",
    [MTL_ERROR_TIMEOUT] = "Caused GPU Timeout Error",
    [MTL_ERROR_PAGE_FAULT] = "Caused GPU Address Fault Error",
    [MTL_ERROR_ACCESS_REVOKED] = "Ignored: access to the GPU was revoked",
    [MTL_ERROR_NOT_PERMITTED] = "Not Permitted",
    [MTL_ERROR_OUT_OF_MEMORY] = "Insufficient Memory",
    [MTL_ERROR_INVALID_RESOURCE] = "Invalid Resource",
    [MTL_ERROR_DEVICE_REMOVED] = "Device Removed",
    [MTL_ERROR_STACK_OVERFLOW] = "Stack Overflow",
};

METALSIM_API mtl_id MTLCommandBufferErrorDomain;

void sim_make_constants(void)
{
    static char text[] = "MTLCommandBufferErrorDomain";
    struct sim_string *string = sim_make_constant(SIM_STRING);
    string->text = text;
    MTLCommandBufferErrorDomain = (mtl_id)string;
}

struct sim_error *sim_error_make(int code)
{
    struct sim_error *error = sim_make(SIM_ERROR);
    error->code = code;
    error->domain =
        sim.config.foreign_errors ? "IOGPUCommandQueueErrorDomain" : "MTLCommandBufferErrorDomain";
    bool known = code > 0 && (size_t)code < sizeof error_words / sizeof *error_words;
    snprintf(error->text, sizeof error->text, "%s (%08x)",
             known && error_words[code] ? error_words[code] : "Unknown", (unsigned)code);
    return error;
}

struct sim_error *sim_error_text(const char *text)
{
    struct sim_error *error = sim_make(SIM_ERROR);
    error->code = 3;
    error->domain = "MTLLibraryErrorDomain";
    snprintf(error->text, sizeof error->text, "%s", text);
    return error;
}

static int64_t error_code(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return ((struct sim_error *)self)->code;
}

static mtl_id error_domain(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_string(((struct sim_error *)self)->domain);
}

static mtl_id error_text(mtl_id self, mtl_sel cmd)
{
    (void)cmd;
    return sim_string(((struct sim_error *)self)->text);
}

const struct sim_method sim_error_methods[] = {SIM_METHOD(error_code, error_code),
                                               SIM_METHOD(error_domain, error_domain),
                                               SIM_METHOD(error_text, error_text),
                                               {0, NULL}};
