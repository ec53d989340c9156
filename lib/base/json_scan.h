/* A JSON text read from front to back without a tree: one pass over its bytes, and
 * no more memory than what is kept of it. For texts that are large (tokenizer.json is a small
 * configuration around a vocabulary and merges of up to half a million entries; jansson takes 0.8 s
 * for those of a 262,144-token file, this reader a tenth of it) or not trusted (a tree takes up to
 * fifty times the text's size). Other JSON is read by jansson. A failure is NK_EDATA with
 * "NAME: line 3, column 14: reason". */
#ifndef NOKEN_BASE_JSON_SCAN_H
#define NOKEN_BASE_JSON_SCAN_H

#include <noken/base.h>
#include <stddef.h>
#include <stdint.h>

struct nki_scan {
  const char *name;  /* the file's, for messages */
  const char *start; /* of the whole text, for line numbers */
  const char *at;
  const char *end;
};

/* A reader at the beginning of text[0..n), after a UTF-8 byte order mark. */
struct nki_scan nki_scan_begin(const char *name, const void *text, size_t n);
int nki_scan_fail(const struct nki_scan *scan, const char *reason);
/* Skips white space and returns the next byte without taking it; 0 at the end. */
int nki_scan_peek(struct nki_scan *scan);
/* Skips white space and takes the byte c. */
int nki_scan_expect(struct nki_scan *scan, char c);
/* Appends the string's bytes to out (NULL: skips it). */
int nki_scan_string(struct nki_scan *scan, struct nk_buffer *out);
int nki_scan_integer(struct nki_scan *scan, int64_t *value);
int nki_scan_number(struct nki_scan *scan, double *value);
/* Takes a word such as null. */
int nki_scan_word(struct nki_scan *scan, const char *word);
/* Skips one value of any kind; checks only where it ends. */
int nki_scan_skip(struct nki_scan *scan);
/* Members of an object and elements of an array, after the opening bracket was taken: 1 when there
 * is another one, 0 when the closing bracket was taken, negative on failure. *first is true
 * before the first call and changed by these calls only. */
int nki_scan_next(struct nki_scan *scan, char close, bool *first);

#endif
