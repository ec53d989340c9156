/* JSON by jansson, with the file's name, line and column in the message of a failure. */
#ifndef NOKEN_BASE_JSON_H
#define NOKEN_BASE_JSON_H

#include <jansson.h>
#include <noken/base.h>
#include <stddef.h>

/* Bytes of the UTF-8 byte order mark that text[0..n) begins with; 0: none. */
size_t nki_json_mark(const char *text, size_t n);

/* Parses n bytes, with nk_buffer_json's changes. flags: jansson's (JSON_REJECT_DUPLICATES, ...). NULL on failure, with "NAME: line
 * 3, column 14: reason" (NK_EDATA). Free with json_decref. */
json_t *nki_json_parse(const char *name, const void *bytes, size_t n, size_t flags);
/* The same for a file. */
json_t *nki_json_load(const char *path, size_t flags);

#endif
