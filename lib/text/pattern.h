/* Regular expressions as tokenizer.json has them: Oniguruma's syntax (Ruby's), matched by PCRE2. */
#ifndef NOKEN_TEXT_PATTERN_H
#define NOKEN_TEXT_PATTERN_H

#include <stddef.h>

struct nki_pattern; /* may be used by several threads at once */
struct nki_match;   /* the memory of one thread for matching any pattern */

/* Compiles a pattern. What Oniguruma and PCRE2 read differently is translated. `name` is the
 * file's, for messages. NULL on failure (a part that is not supported: the message names it). */
struct nki_pattern *nki_pattern_new(const char *name, const char *regex);
void nki_pattern_free(struct nki_pattern *pattern);

struct nki_match *nki_match_new(void);
void nki_match_free(struct nki_match *match);

/* The first match in s[0..n), valid UTF-8, at or after `from`: 1 with [*begin, *end), 0 when there
 * is none, negative on failure (a pattern that takes too long). */
int nki_pattern_find(const struct nki_pattern *pattern, struct nki_match *match, const char *s,
                     size_t n, size_t from, size_t *begin, size_t *end);

#endif
