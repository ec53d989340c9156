/* Numbers from text. */
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/* *value = the decimal number that the whole of text [n] is, whatever the program's locale; inf and
 * nan are numbers. False for anything else: no character, spaces, hexadecimals, more than 255
 * characters. */
bool nki_number_of_text(const char *text, size_t n, double *value);

#endif
