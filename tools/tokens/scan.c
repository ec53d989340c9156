/* --scan: which lines of a data set give listed tokens. Every line is encoded, so that a hit is one
 * that a training run would see. A block of lines is cut into chunks that threads encode; their
 * hits are printed in the order of the lines. */
#include <jansson.h>
#include <string.h>

#include "tokens/lines.h"
#include "tokens/tokens.h"

enum { CHUNK = 32 << 10 }; /* bytes of lines, at least */
static const char HALF_PAIR[] = "invalid Unicode '\\u";

struct hit {
  size_t line, position; /* in the block; of the token in the line, from 0 */
  int64_t id;
};

/* Lines that one thread encodes. */
struct chunk {
  size_t first, end; /* lines of the block */
  struct hit *hits;  /* [n_hits] */
  size_t n_hits, capacity;
  size_t n_invalid;     /* lines that are not UTF-8 */
  size_t n_without;     /* lines without the field */
  size_t n_blank;       /* with a field: lines of white space */
  size_t first_invalid; /* line of the block */
  int code;             /* of the line that `failed` */
  size_t failed;
};

struct scan {
  const struct tokens_job *job;
  const struct tokens_line *line; /* [n_lines] the block */
  size_t n_lines, before;         /* lines; those of the blocks before it */
  size_t n_ids;                   /* of the vocabulary, or rows of the model's matrix */
  const bool *listed;             /* [n_ids] */
  struct chunk *chunks;           /* [n_chunks], with room for more */
  size_t n_chunks, chunk_capacity;
  struct cli_table *table; /* NULL: counts only */
  /* Counts of all blocks. */
  size_t *hits, *lines; /* [n_ids] */
  size_t *last;         /* [n_ids] the last line counted in `lines`, from 1 */
  size_t n_hits, n_hit; /* hits; lines with a hit */
  size_t n_invalid, first_invalid, n_without, n_blank;
};

/* ---- One line ---- */

static bool is_utf8(const char *bytes, size_t n) {
  return tokens_first_invalid(bytes, n) == n;
}

static int add_hit(struct chunk *chunk, struct hit hit) {
  if (chunk->n_hits == chunk->capacity) {
    size_t more = chunk->capacity != 0 ? 2 * chunk->capacity : 64;
    struct hit *grown = nk_realloc(chunk->hits, chunk->capacity, more, sizeof *grown);
    if (grown == NULL) return NK_EMEMORY;
    chunk->hits = grown;
    chunk->capacity = more;
  }
  chunk->hits[chunk->n_hits++] = hit;
  return NK_OK;
}

static int scan_text(const struct scan *scan, struct chunk *chunk, size_t line, const char *text,
                     size_t n) {
  int64_t *ids = NULL;
  size_t n_ids = 0;
  int flags = scan->job->options->plain ? NK_ENCODE_PLAIN : 0;
  int code = nk_tokenizer_encode(scan->job->tokenizer, text, n, flags, &ids, &n_ids);
  if (code == NK_EDATA && !is_utf8(text, n)) {
    if (chunk->n_invalid++ == 0) chunk->first_invalid = line;
    return NK_OK;
  }
  for (size_t i = 0; i < n_ids && code == NK_OK; i++)
    if (scan->listed[ids[i]]) code = add_hit(chunk, (struct hit){line, i, ids[i]});
  nk_free(ids);
  return code;
}

static bool is_blank(const struct tokens_line *text) {
  size_t n = 0;
  while (n < text->n && strchr(" \t\r", text->bytes[n]) != NULL && text->bytes[n] != 0) n++;
  return n == text->n;
}

/* The text in a field of a JSON object. Half a surrogate pair, which can be escaped, is no
 * character that UTF-8 has: jansson says "invalid Unicode". */
static int scan_field(const struct scan *scan, struct chunk *chunk, size_t line,
                      const struct tokens_line *text) {
  json_error_t error;
  if (is_blank(text)) {
    chunk->n_blank++;
    return NK_OK;
  }
  json_t *object = json_loadb(text->bytes, text->n, JSON_ALLOW_NUL, &error);
  const json_t *value = json_object_get(object, scan->job->options->field);
  int code = NK_OK;
  if (object == NULL && (!is_utf8(text->bytes, text->n) ||
                         strncmp(error.text, HALF_PAIR, sizeof HALF_PAIR - 1) == 0)) {
    if (chunk->n_invalid++ == 0) chunk->first_invalid = line;
  } else if (!json_is_object(object)) {
    code =
        nk_fail(NK_EDATA, "column %d: %s: expected a JSON object",
                object == NULL ? error.column : 1, object == NULL ? error.text : "another value");
  } else if (!json_is_string(value)) {
    chunk->n_without++;
  } else {
    code = scan_text(scan, chunk, line, json_string_value(value), json_string_length(value));
  }
  json_decref(object);
  return code;
}

static int scan_line(const struct scan *scan, struct chunk *chunk, size_t line) {
  const struct tokens_line *text = &scan->line[line];
  if (scan->job->options->field != NULL) return scan_field(scan, chunk, line, text);
  return text->n != 0 ? scan_text(scan, chunk, line, text->bytes, text->n) : NK_OK;
}

/* ---- One block ---- */

static int cut_chunks(struct scan *scan) {
  scan->n_chunks = 0;
  for (size_t line = 0; line < scan->n_lines;) {
    if (scan->n_chunks == scan->chunk_capacity) {
      size_t old = scan->chunk_capacity, more = old != 0 ? 2 * old : 256;
      struct chunk *grown = nk_realloc(scan->chunks, old, more, sizeof *grown);
      if (grown == NULL) return NK_EMEMORY;
      memset(grown + old, 0, (more - old) * sizeof *grown);
      scan->chunks = grown;
      scan->chunk_capacity = more;
    }
    struct chunk *chunk = &scan->chunks[scan->n_chunks++];
    *chunk = (struct chunk){.first = line, .hits = chunk->hits, .capacity = chunk->capacity};
    for (size_t n = 0; line < scan->n_lines && n < CHUNK; line++) n += scan->line[line].n + 1;
    chunk->end = line;
  }
  return NK_OK;
}

static int count_hit(struct scan *scan, const struct hit *hit) {
  size_t line = scan->before + hit->line + 1;
  scan->n_hits++;
  scan->hits[hit->id]++;
  if (scan->last[hit->id] != line) scan->lines[hit->id]++;
  scan->last[hit->id] = line;
  if (scan->table == NULL) return NK_OK;
  cli_table_integer(scan->table, (int64_t)line);
  cli_table_integer(scan->table, (int64_t)hit->position);
  tokens_write_token(scan->job, hit->id, scan->table);
  return cli_table_end_row(scan->table);
}

/* Prints and counts a chunk's hits. The message of a line that failed is made once more: it was
 * that of another thread. */
static int finish_chunk(struct scan *scan, struct chunk *chunk) {
  int code = NK_OK;
  for (size_t i = 0; i < chunk->n_hits && code == NK_OK; i++) {
    scan->n_hit += i == 0 || chunk->hits[i].line != chunk->hits[i - 1].line;
    code = count_hit(scan, &chunk->hits[i]);
  }
  if (chunk->n_invalid > 0 && scan->n_invalid == 0)
    scan->first_invalid = scan->before + chunk->first_invalid + 1;
  scan->n_invalid += chunk->n_invalid;
  scan->n_without += chunk->n_without;
  scan->n_blank += chunk->n_blank;
  if (code != NK_OK || chunk->code == NK_OK) return code;
  code = scan_line(scan, chunk, chunk->failed);
  return nk_fail_in(code != NK_OK ? code : NK_EMEMORY, "line %zu",
                    scan->before + chunk->failed + 1);
}

static int scan_block(struct scan *scan) {
  int code = cut_chunks(scan);
#pragma omp parallel for schedule(dynamic) num_threads((int)nk_threads()) if (scan->n_chunks > 1)
  for (size_t c = 0; c < scan->n_chunks; c++) {
    struct chunk *chunk = &scan->chunks[c];
    for (size_t line = chunk->first; line < chunk->end && chunk->code == NK_OK; line++) {
      chunk->code = scan_line(scan, chunk, line);
      chunk->failed = line;
    }
  }
  for (size_t c = 0; c < scan->n_chunks && code == NK_OK; c++)
    code = finish_chunk(scan, &scan->chunks[c]);
  scan->before += scan->n_lines;
  return code;
}

/* ---- The whole ---- */

static int scan_lines(struct scan *scan, struct tokens_lines *lines) {
  size_t total = tokens_lines_total(lines);
  int code = NK_OK;
  do {
    code = tokens_lines_next(lines, &scan->line, &scan->n_lines);
    if (code == NK_OK) code = scan_block(scan);
    if (code == NK_OK && total > 0) code = nk_progress("scanning", tokens_lines_done(lines), total);
  } while (code == NK_OK && scan->n_lines > 0);
  if (code != NK_OK) return nk_fail_in(code, "%s", tokens_lines_name(lines));
  if (scan->n_invalid > 0)
    nk_warn("%s: %zu lines are not valid UTF-8%s and were not scanned, line %zu first",
            tokens_lines_name(lines), scan->n_invalid,
            scan->job->options->field != NULL ? ", or escape half a surrogate pair," : "",
            scan->first_invalid);
  if (scan->n_without == 0) return NK_OK;
  if (scan->n_without + scan->n_blank == scan->before)
    return nk_fail(NK_EDATA, "%s: no line has a text '%s'", tokens_lines_name(lines),
                   scan->job->options->field);
  nk_warn("%s: %zu lines have no text '%s'", tokens_lines_name(lines), scan->n_without,
          scan->job->options->field);
  return NK_OK;
}

static int print_sum(struct cli_table *table, size_t hits, size_t lines, size_t scanned) {
  cli_table_integer(table, (int64_t)hits);
  cli_table_integer(table, (int64_t)lines);
  cli_table_integer(table, (int64_t)scanned);
  return cli_table_end_row(table);
}

/* A row for all listed tokens together, without an id, and one for each. */
static int print_counts(const struct scan *scan, struct cli_table *table) {
  size_t scanned = scan->before - scan->n_invalid - scan->n_without - scan->n_blank;
  cli_table_missing(table);
  cli_table_missing(table);
  int code = print_sum(table, scan->n_hits, scan->n_hit, scanned);
  for (size_t id = 0; id < scan->n_ids && code == NK_OK; id++) {
    if (!scan->listed[id]) continue;
    tokens_write_token(scan->job, (int64_t)id, table);
    code = print_sum(table, scan->hits[id], scan->lines[id], scanned);
  }
  return code;
}

static int name_columns(struct cli_table *table, bool summary) {
  static const char *const columns[2][6] = {{"line", "position", "id", "text", NULL},
                                            {"id", "text", "hits", "lines", "of_lines", NULL}};
  int code = NK_OK;
  for (size_t c = 0; columns[summary][c] != NULL && code == NK_OK; c++)
    code = cli_table_column(table, columns[summary][c]);
  return code;
}

int tokens_scan_check(const struct tokens_options *o) {
  if (o->scan == NULL && (o->with != NULL || o->field != NULL))
    return nk_fail(NK_EUSAGE, "%s is of --scan FILE", o->with != NULL ? "--with" : "--field");
  if (o->scan == NULL) return NK_OK;
  if (o->with == NULL) return nk_fail(NK_EUSAGE, "--scan: name the tokens by --with TABLE");
  if (o->encode != NULL || o->decode != NULL || o->prune != NULL || o->texts || o->no_special)
    return nk_fail(NK_EUSAGE,
                   "--scan excludes --encode, --decode, --prune, --texts and --no-special");
  if (strcmp(o->scan, "-") == 0 && strcmp(o->with, "-") == 0)
    return nk_fail(NK_EUSAGE, "--scan and --with: standard input is one of them");
  return NK_OK;
}

int tokens_scan(const struct tokens_job *job, struct cli_table *table) {
  size_t n = 0, *counts = NULL;
  int64_t *ids = NULL;
  bool *listed = NULL;
  struct scan scan = {.job = job};
  struct tokens_lines *lines = NULL;
  int code = tokens_read_listed(job, job->options->with, &ids, &n, &scan.n_ids);
  if (code != NK_OK) goto done;
  listed = nk_calloc(scan.n_ids, sizeof *listed);
  counts = nk_calloc(scan.n_ids, 3 * sizeof *counts);
  if (listed == NULL || counts == NULL) code = NK_EMEMORY;
  for (size_t i = 0; i < n && code == NK_OK; i++) listed[ids[i]] = true;
  if (code == NK_OK && (lines = tokens_lines_open(job->options->scan)) == NULL)
    code = nk_error_code();
  if (code == NK_OK) code = name_columns(table, job->options->summary);
  if (code != NK_OK) goto done;
  scan.table = job->options->summary ? NULL : table;
  scan.listed = listed;
  scan.hits = counts;
  scan.lines = counts + scan.n_ids;
  scan.last = counts + 2 * scan.n_ids;
  code = scan_lines(&scan, lines);
  if (code == NK_OK && job->options->summary) code = print_counts(&scan, table);
done:
  for (size_t c = 0; c < scan.chunk_capacity; c++) nk_free(scan.chunks[c].hits);
  nk_free(scan.chunks);
  tokens_lines_free(lines);
  nk_free(counts);
  nk_free(listed);
  nk_free(ids);
  return code;
}
