/* What the tests of the Triton layer share: a device without a direct path, requests, bytes. */
#ifndef TRITON_SUPPORT_H
#define TRITON_SUPPORT_H

#include "standin/standin.h"

#include <ferry/triton.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The device of all tests; its private memory is reached through submissions only. */
extern ferry_device *device;

/* For cmocka_run_group_tests: opens device by the registry, and gives it back. */
int open_device(void **state);
int close_device(void **state);

/* For each test: forgets what was, and, after it, fails the test if a rule was broken or an error
 * was not deleted. */
int begin_test(void **state);
int end_test(void **state);

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

/* Fails the test, in words, if error is not NULL. */
void succeed(TRITONSERVER_Error *error);

/* Fails the test unless error has this code and these words in it; deletes it. */
void expect_error(TRITONSERVER_Error *error, TRITONSERVER_Error_Code code, const char *words);

ferry_buffer *make_buffer(ferry_device *of, size_t size);
void fill(ferry_buffer *buffer, uint8_t byte);

/* Does the buffer hold this, and nothing else than byte round it? */
struct expected {
    size_t offset, size;
    const void *bytes;
};
void expect_bytes(ferry_buffer *buffer, const struct expected *parts, size_t count, uint8_t byte);

/* Pseudo-random bytes; the caller's to free. */
uint8_t *make_bytes(size_t size, unsigned seed);

/* A request on its way to the backend, with nothing in it. */
TRITONSERVER_InferenceRequest *make_request(void);
void add_input(TRITONSERVER_InferenceRequest *request, const char *name);
void add_data(TRITONSERVER_InferenceRequest *request, const char *name, const void *base,
              size_t size);
void add_memory(TRITONSERVER_InferenceRequest *request, const char *name, const void *base,
                size_t size, TRITONSERVER_MemoryType type, int64_t id);

/* A request with one input "x", in one piece, handed over. */
TRITONBACKEND_Request *simple(const void *bytes, size_t size);

/* A callback for responses that deletes them. */
void drop_response(TRITONSERVER_InferenceResponse *response, const uint32_t flags, void *userp);

/* An allocator's way to take back memory that is the test's own: it stays there. */
TRITONSERVER_Error *keep_memory(TRITONSERVER_ResponseAllocator *of, void *buffer,
                                void *buffer_userp, size_t size, TRITONSERVER_MemoryType type,
                                int64_t id);

/* Answers with an empty response and releases. */
void finish_request(TRITONBACKEND_Request *request);

void wait_for(ferry_ticket ticket);

/* A callback that counts: user is a struct called. */
struct called {
    _Atomic int calls;
    _Atomic int status;
    _Atomic uint64_t ticket;
};

void note(enum ferry_status status, ferry_ticket ticket, void *user);

uint64_t submissions(ferry_device *of);
struct ferry_triton_stats triton_stats(void);

#endif
