/* GPT-2's byte-level alphabet: each of the 256 bytes is written as a printable character (a space
 * as U+0120). Only the tokenizer's file is written in it: here tokens are raw bytes from the moment
 * they are read. */
#ifndef NOKEN_TEXT_BYTE_LEVEL_H
#define NOKEN_TEXT_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>

/* Replaces text[0..*n), valid UTF-8, by the bytes that its characters stand for, which are fewer.
 * False, with text as it was, when a character is not of the alphabet. */
bool nki_byte_level_decode(char *text, size_t *n);

#endif
