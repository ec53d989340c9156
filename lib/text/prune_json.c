/* The edits of a tokenizer.json: merges are cut out, strings of the vocabulary get a mark, the
 * decoder a first step that removes it. All other bytes of the file are copied. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>

#include "text/prune.h"
#include "text/spec_json.h"

/* Text [begin, end) of the file becomes `to`. */
struct edit {
  const char *begin, *end;
  const char *to;
};

struct edits {
  const struct nki_pruning *pruning;
  struct edit *edit; /* [n] */
  size_t n, capacity;
  struct nk_buffer step; /* the decoder's new step */
};

static int add(struct edits *edits, const char *begin, const char *end, const char *to) {
  if (edits->n == edits->capacity) {
    size_t capacity = edits->capacity != 0 ? 2 * edits->capacity : 256;
    struct edit *grown = nk_realloc(edits->edit, edits->n, capacity, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    edits->edit = grown;
    edits->capacity = capacity;
  }
  edits->edit[edits->n++] = (struct edit){begin, end, to};
  return NK_OK;
}

/* ---- The merges ---- */

/* Cuts the dropped merges out, each with the comma before it, or after it where it is the first. */
static int edit_merges(struct edits *edits, struct nki_scan scan) {
  const struct nki_pruning *p = edits->pruning;
  const char *kept_end = NULL, *cut = NULL; /* cut: of the merges dropped before any was kept */
  struct nki_place merge = {0};
  size_t rank = 0;
  bool first = true;
  int code = nki_scan_expect(&scan, '[');
  while (code == NK_OK && (code = nki_scan_next(&scan, ']', &first)) == 1) {
    bool is_comment = nki_scan_peek(&scan) == '"' && nki_place_is_comment(&scan);
    code = nki_place_value(&scan, &merge);
    if (code != NK_OK) break;
    bool is_dropped = !is_comment && rank < p->n_ranks && p->dropped[rank];
    if (!is_comment) rank++;
    if (is_dropped && kept_end == NULL && cut == NULL) cut = merge.begin;
    if (is_dropped && kept_end != NULL) code = add(edits, kept_end, merge.end, "");
    if (!is_dropped && cut != NULL) code = add(edits, cut, merge.begin, "");
    if (!is_dropped || kept_end != NULL) {
      kept_end = merge.end;
      cut = NULL;
    }
  }
  return code == NK_OK && cut != NULL ? add(edits, cut, merge.end, "") : code;
}

/* ---- The vocabulary ---- */

/* Puts the mark at the beginning of the string at scan where its token gets a new name. */
static int edit_name(struct edits *edits, const char *quote, size_t id) {
  const struct nki_pruning *p = edits->pruning;
  if (!nki_is_pruned(p, id) || !p->renamed[id]) return NK_OK;
  return add(edits, quote + 1, quote + 1, p->mark.data);
}

static int edit_vocab_object(struct edits *edits, struct nki_scan scan) {
  bool first = true;
  int code = nki_scan_expect(&scan, '{');
  while (code == NK_OK && (code = nki_scan_next(&scan, '}', &first)) == 1) {
    struct nki_place key;
    int64_t id = 0;
    code = nki_place_value(&scan, &key);
    if (code == NK_OK) code = nki_scan_expect(&scan, ':');
    if (code == NK_OK) code = nki_scan_integer(&scan, &id);
    if (code == NK_OK) code = edit_name(edits, key.begin, (size_t)id);
  }
  return code;
}

static int edit_vocab_array(struct edits *edits, struct nki_scan scan) {
  bool first = true;
  int code = nki_scan_expect(&scan, '[');
  for (size_t id = 0; code == NK_OK && (code = nki_scan_next(&scan, ']', &first)) == 1; id++) {
    struct nki_place pair;
    code = nki_place_value(&scan, &pair);
    const char *quote =
        code == NK_OK ? memchr(pair.begin, '"', (size_t)(pair.end - pair.begin)) : NULL;
    if (code == NK_OK && quote == NULL) code = nki_scan_fail(&scan, "a string expected");
    if (code == NK_OK) code = edit_name(edits, quote, id);
  }
  return code;
}

/* ---- The decoder ---- */

/* Whether the place holds this text. */
static bool is_text(const struct nki_place *place, const char *text) {
  size_t n = strlen(text);
  return place->begin != NULL && (size_t)(place->end - place->begin) == n &&
         memcmp(place->begin, text, n) == 0;
}

/* Puts the step that removes the mark before the decoder's own. */
static int edit_decoder(struct edits *edits, struct nki_scan scan,
                        const struct nki_place *decoder) {
  static const char *const names[] = {"type", "decoders"};
  struct nki_place part[2] = {{0}, {0}};
  scan.at = decoder->begin;
  int code = nki_place_members(&scan, names, part, 2);
  if (code != NK_OK) return code;
  bool is_sequence = is_text(&part[0], "\"Sequence\"") && part[1].begin != NULL &&
                     part[1].begin < part[1].end && *part[1].begin == '[';
  const char *at = is_sequence ? part[1].begin + 1 : decoder->begin;
  if (!is_sequence) nk_buffer_text(&edits->step, "{\"type\":\"Sequence\",\"decoders\":[");
  nk_buffer_text(&edits->step, "{\"type\":\"Replace\",\"pattern\":{\"String\":");
  nk_buffer_quote(&edits->step, edits->pruning->mark.data, edits->pruning->mark.size);
  nk_buffer_text(&edits->step, "},\"content\":\"\"},");
  if (edits->step.failed) return nk_fail(NK_EMEMORY, "no memory for a decoder");
  code = add(edits, at, at, edits->step.data);
  return code != NK_OK || is_sequence ? code : add(edits, decoder->end, decoder->end, "]}");
}

/* ---- The file ---- */

static bool renames(const struct nki_pruning *p) {
  for (size_t id = 0; id < p->n; id++)
    if (nki_is_pruned(p, id) && p->renamed[id]) return true;
  return false;
}

static int edit_parts(struct edits *edits, struct nki_scan scan) {
  static const char *const top[] = {"model", "decoder"}, *const inner[] = {"vocab", "merges"};
  struct nki_place outer[2] = {{0}, {0}}, part[2] = {{0}, {0}};
  int code = nki_place_members(&scan, top, outer, 2);
  if (code != NK_OK || outer[0].begin == NULL || *outer[0].begin != '{')
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: not a tokenizer.json, which alone can be pruned (transformers' "
                   "save_pretrained writes one)",
                   scan.name);
  if (outer[1].begin == NULL || is_text(&outer[1], "null"))
    return nk_fail(NK_EUNSUPPORTED,
                   "%s: without a decoder, spaces stand between the texts of tokens: no others "
                   "stand for a pruned token",
                   scan.name);
  scan.at = outer[0].begin;
  code = nki_place_members(&scan, inner, part, 2);
  if (code == NK_OK && part[1].begin != NULL && edits->pruning->n_ranks > 0) {
    scan.at = part[1].begin;
    code = edit_merges(edits, scan);
  }
  if (code != NK_OK || !renames(edits->pruning)) return code;
  scan.at = part[0].begin;
  code = part[0].begin == NULL ? nki_scan_fail(&scan, "no vocabulary")
         : *scan.at == '['     ? edit_vocab_array(edits, scan)
                               : edit_vocab_object(edits, scan);
  return code != NK_OK ? code : edit_decoder(edits, scan, &outer[1]);
}

/* By place, which no two share. */
static int compare(const void *a, const void *b) {
  const struct edit *x = a, *y = b;
  return (x->begin > y->begin) - (x->begin < y->begin);
}

int nki_prune_edit(const struct nki_pruning *pruning, const struct nk_file *file,
                   struct nk_buffer *json) {
  struct edits edits = {.pruning = pruning};
  struct nki_scan scan = nki_scan_begin(file->name, file->data, file->size);
  const char *at = (const char *)file->data, *end = at + file->size;
  int code = edit_parts(&edits, scan);
  if (edits.n > 1) qsort(edits.edit, edits.n, sizeof *edits.edit, compare);
  for (size_t i = 0; i < edits.n && code == NK_OK; i++) {
    const struct edit *edit = &edits.edit[i];
    nk_buffer_append(json, at, (size_t)(edit->begin - at));
    nk_buffer_text(json, edit->to);
    at = edit->end;
  }
  if (code == NK_OK) nk_buffer_append(json, at, (size_t)(end - at));
  nk_free(edits.edit);
  nk_buffer_free(&edits.step);
  return code != NK_OK || !json->failed
             ? code
             : nk_fail(NK_EMEMORY, "%s: no memory for the file", file->name);
}
