/* A tokenizer.json as a spec. */
#ifndef NOKEN_TEXT_SPEC_JSON_H
#define NOKEN_TEXT_SPEC_JSON_H

#include "base/json_scan.h"
#include "text/spec.h"

/* Fills a spec that has its name and max_id. Returns NK_OK or a negative code. */
int nki_spec_read_json(struct nki_spec *spec, const struct nk_file *file, bool vocabulary_only);

/* A value's place in the file. */
struct nki_place {
  const char *begin, *end; /* NULL when there is none */
};

/* Skips the value at scan and notes its place. */
int nki_place_value(struct nki_scan *scan, struct nki_place *span);
/* Skips the object at scan and notes the places of its members called name[0..n_names). */
int nki_place_members(struct nki_scan *scan, const char *const *name, struct nki_place *span,
                      size_t n_names);
/* Whether the string at scan->at is the comment that files of the first version have among the
 * merges. */
bool nki_place_is_comment(const struct nki_scan *scan);

#endif
