/* Why something failed, in words: one text that all who failed for it share. */
#ifndef FERRY_ENGINE_REASON_H
#define FERRY_ENGINE_REASON_H

struct ferry__reason;

/* NULL: no host memory. The caller's reference. */
struct ferry__reason *ferry__reason_make(const char *text);

/* Both take NULL: a reason for which there was no host memory. */
struct ferry__reason *ferry__reason_ref(struct ferry__reason *reason);
void ferry__reason_unref(struct ferry__reason *reason);
const char *ferry__reason_text(const struct ferry__reason *reason);

#endif
