/* The split patterns of GPT-2, Llama 3 and Qwen 2 without a regex engine, which takes most of the
 * time of encoding. The tests compare each with its pattern. */
#ifndef NOKEN_TEXT_SPLIT_FAST_H
#define NOKEN_TEXT_SPLIT_FAST_H

#include <stddef.h>

/* The end of the match that begins at s[at], at < n; s is valid UTF-8. These patterns
 * match at every place. */
typedef size_t nki_split_fast(const char *s, size_t n, size_t at);

/* The function for a pattern as written in tokenizer.json; NULL for other patterns. */
nki_split_fast *nki_split_fast_of(const char *pattern);

#endif
