/* JSON by jansson, with the file's name, line and column in the message of a failure. */
#ifndef NOKEN_BASE_JSON_H
#define NOKEN_BASE_JSON_H

#include <jansson.h>
#include <noken/base.h>
#include <stddef.h>

/* Bytes of the UTF-8 byte order mark that text[0..n) begins with; 0: none. */
size_t nki_json_mark(const char *text, size_t n);

/* Parses n bytes of JSON as Python writes it: NaN, Infinity and -Infinity are read as strings of
 * these words, so that they are errors only where a number is asked for, whole numbers beyond 64
 * bits as real ones, and a byte order mark is skipped. flags: jansson's (JSON_REJECT_DUPLICATES,
 * ...). NULL on failure, with "NAME: line 3, column 14: reason" (NK_EDATA). Free with json_decref.
 * */
json_t *nki_json_parse(const char *name, const void *bytes, size_t n, size_t flags);
/* The same for a file. */
json_t *nki_json_load(const char *path, size_t flags);

#endif
