/* Memory and sizes. Allocation is plain malloc and free: objects here are few and large, each with
 * one owner and one free function, so an arena would save nothing and would hide overruns from the
 * sanitizers. What is needed is that no product of sizes from a file overflows unseen. */
#ifndef NOKEN_MEMORY_H
#define NOKEN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* *out = a * b (a + b); false, with *out untouched, when that does not fit in size_t. */
bool nk_size_mul(size_t a, size_t b, size_t *out);
bool nk_size_add(size_t a, size_t b, size_t *out);

/* count x size bytes, aligned to 64 bytes, not set to anything (nk_calloc: to zero). A size of 0
 * gives a pointer that can be freed. Free with nk_free. NULL with nk_error() set on failure: it
 * names the number of bytes. */
void *nk_alloc(size_t count, size_t size);
void *nk_calloc(size_t count, size_t size);
/* As realloc, for a block from nk_alloc of old_count elements; on failure the old block stays. */
void *nk_realloc(void *block, size_t old_count, size_t count, size_t size);
void nk_free(void *block);

/* A copy of n bytes and a closing 0. Free with nk_free. */
char *nk_strndup(const char *bytes, size_t n);
char *nk_strdup(const char *string);

#ifdef __cplusplus
}
#endif
#endif
