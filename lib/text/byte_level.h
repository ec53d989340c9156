/* GPT-2's byte-level alphabet: each of the 256 bytes is written as a printable character (a space
 * as U+0120). Mostly only files use it: tokens are decoded to raw bytes when they are read. */
#ifndef NOKEN_TEXT_BYTE_LEVEL_H
#define NOKEN_TEXT_BYTE_LEVEL_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>

/* Replaces text[0..*n), valid UTF-8, by the bytes that its characters stand for, which are fewer.
 * False, with text unchanged, when a character is not of the alphabet. */
bool nki_byte_level_decode(char *text, size_t *n);

/* Appends the characters that stand for bytes[0..n). */
void nki_byte_level_encode(const char *bytes, size_t n, struct nk_buffer *out);

#endif
