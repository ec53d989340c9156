/* Contexts, and the states of a model in them. */
#include "cli/contexts.h"

#include <noken/forward.h>
#include <stdio.h>
#include <string.h>

/* ---- Reading ---- */

static int add_context(struct cli_contexts *c, int64_t *ids, size_t n) {
  if ((c->n & (c->n - 1)) == 0) { /* the room is the next power of two */
    struct nk_sequence *longer = nk_realloc(c->item, c->n, c->n > 0 ? 2 * c->n : 1, sizeof *longer);
    if (longer == NULL) return NK_EMEMORY;
    c->item = longer;
  }
  c->item[c->n++] = (struct nk_sequence){ids, n};
  return NK_OK;
}

/* Adds a line, or a prompt. */
static int add_text(struct nk_model *model, const char *text, size_t n_text, bool slots,
                    struct cli_contexts *c) {
  size_t most = nk_forward_shape(nk_model_forward(model))->n_positions, n = 0;
  int64_t *ids = NULL;
  int code = n_text == 0
                 ? NK_OK
                 : nk_prompt_encode(nk_model_tokenizer(model), text, n_text, slots, &ids, &n);
  if (code == NK_OK && n > most)
    code = nk_fail(NK_EDATA, "%zu tokens: the model's context is %zu", n, most);
  if (code == NK_OK) code = add_context(c, ids, n);
  if (code != NK_OK) nk_free(ids);
  return code;
}

static int count_beginning(struct nk_model *model, struct cli_contexts *c) {
  int64_t *ids = NULL;
  int code = nk_prompt_encode(nk_model_tokenizer(model), "", 0, false, &ids, &c->n_begin);
  nk_free(ids);
  return code;
}

static int read_lines(struct nk_model *model, const struct nk_file *file, struct cli_contexts *c) {
  const char *text = (const char *)file->data, *end = text + file->size;
  size_t n_empty = 0, empty = 0;
  while (text < end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    size_t n = (size_t)((newline == NULL ? end : newline) - text);
    size_t length = n > 0 && text[n - 1] == '\r' ? n - 1 : n;
    if (length == 0 && n_empty++ == 0) empty = c->n + 1;
    int code = add_text(model, text, length, false, c);
    if (code != NK_OK) return nk_fail_in(code, "%s: line %zu", c->name, c->n + 1);
    text += n + 1;
  }
  if (n_empty == c->n) return nk_fail(NK_EDATA, "%s: no text", c->name);
  if (n_empty > 0)
    nk_warn("%s: %zu of %zu lines skipped: they are empty, line %zu first", c->name, n_empty, c->n,
            empty);
  return NK_OK;
}

int cli_contexts_read(struct nk_model *model, const char *path, struct cli_contexts *c) {
  if (nk_model_forward(model) == NULL || nk_model_tokenizer(model) == NULL) return nk_error_code();
  struct nk_file *file = nk_file_open(path);
  if (file == NULL) return nk_error_code();
  c->name = nk_strdup(file->name);
  int code = c->name == NULL ? NK_EMEMORY : count_beginning(model, c);
  if (code == NK_OK) code = read_lines(model, file, c);
  nk_file_free(file);
  return code;
}

int cli_contexts_of_prompt(struct nk_model *model, const char *name, const char *text,
                           struct cli_contexts *c) {
  if (nk_model_forward(model) == NULL || nk_model_tokenizer(model) == NULL) return nk_error_code();
  struct nk_buffer own = {0};
  nk_buffer_printf(&own, "prompt '%s'", name);
  c->name = own.data;
  c->of_prompt = true;
  int code = own.failed ? nk_fail(NK_EMEMORY, "no memory for a prompt") : count_beginning(model, c);
  if (code == NK_OK) code = add_text(model, text, strlen(text), true, c);
  if (code != NK_OK) return nk_fail_in(code, "prompt '%s'", name);
  return c->item[0].n > 0 ? NK_OK : nk_fail(NK_EUSAGE, "an empty prompt");
}

void cli_contexts_free(struct cli_contexts *c) {
  for (size_t i = 0; i < c->n; i++) nk_free((int64_t *)c->item[i].ids);
  nk_free(c->item);
  nk_free(c->name);
  *c = (struct cli_contexts){0};
}

int cli_contexts_position(const struct cli_contexts *c, size_t context, int64_t at,
                          size_t *position) {
  size_t n = c->item[context].n;
  int64_t from_start = at < 0 ? at + (int64_t)n : at;
  *position = (size_t)from_start;
  if (from_start >= 0 && (size_t)from_start < n) return NK_OK;
  if (c->of_prompt)
    return nk_fail(NK_EUSAGE, "%s has %zu tokens, none at position %lld", c->name, n,
                   (long long)at);
  return nk_fail(NK_EDATA, "%s: line %zu has %zu tokens, none at position %lld", c->name,
                 context + 1, n, (long long)at);
}

/* ---- Capturing ---- */

/* States [n], those of one place at all layers together. */
struct rows {
  size_t n_places, n;
  size_t *context, *position; /* [n_places] */
};

static int add_place(struct rows *rows, size_t context, size_t position) {
  size_t n = rows->n_places;
  if ((n & (n - 1)) == 0) {
    size_t room = n > 0 ? 2 * n : 1;
    size_t *contexts = nk_realloc(rows->context, n, room, sizeof *contexts);
    if (contexts == NULL) return NK_EMEMORY;
    rows->context = contexts;
    size_t *positions = nk_realloc(rows->position, n, room, sizeof *positions);
    if (positions == NULL) return NK_EMEMORY;
    rows->position = positions;
  }
  rows->context[n] = context;
  rows->position[n] = position;
  rows->n_places++;
  return NK_OK;
}

static int find_places(const struct cli_states *s, struct rows *rows) {
  const struct cli_contexts *c = s->contexts;
  int code = NK_OK;
  for (size_t i = 0; i < c->n && code == NK_OK; i++) {
    size_t position;
    if (c->item[i].n == 0) continue;
    if (s->every == 0) {
      code = cli_contexts_position(c, i, s->position, &position);
      if (code == NK_OK) code = add_place(rows, i, position);
      continue;
    }
    for (position = c->n_begin + s->every - 1; position < c->item[i].n && code == NK_OK;
         position += s->every)
      code = add_place(rows, i, position);
  }
  if (code == NK_OK && rows->n_places == 0)
    code = nk_fail(NK_EDATA, "%s: no line has %zu tokens", c->name, s->every);
  if (code == NK_OK && !nk_size_mul(rows->n_places, s->n_layers, &rows->n))
    code = nk_fail(NK_EMEMORY, "a capture of more rows than memory holds");
  return code;
}

enum { POSITIONS_AT_ONCE = 1 << 16 };

static bool begins_context(const struct rows *rows, size_t first, size_t place) {
  return place == first || rows->context[place] != rows->context[place - 1];
}

/* The end of the batch that begins with place `first`: whole contexts. */
static size_t batch_end(const struct cli_states *s, const struct rows *rows, size_t first) {
  size_t positions = 0, end = first;
  for (; end < rows->n_places; end++) {
    if (!begins_context(rows, first, end)) continue;
    positions += s->contexts->item[rows->context[end]].n;
    if (end > first && positions > POSITIONS_AT_ONCE) break;
  }
  return end;
}

/* Keeps the places of the shard, whose blocks are the batches. */
static void keep_shard(const struct cli_states *s, struct rows *rows) {
  size_t blocks[2], places[2] = {rows->n_places, rows->n_places}, n = 0;
  if (rows->n_places == 0) return;
  for (size_t first = 0; first < rows->n_places; first = batch_end(s, rows, first)) n++;
  cli_shard_range(&s->shard, n, blocks);
  n = 0;
  for (size_t first = 0; first < rows->n_places; first = batch_end(s, rows, first), n++)
    for (int i = 0; i < 2; i++)
      if (n == blocks[i]) places[i] = first;
  rows->n_places = places[1] - places[0];
  memmove(rows->context, rows->context + places[0], rows->n_places * sizeof *rows->context);
  memmove(rows->position, rows->position + places[0], rows->n_places * sizeof *rows->position);
  rows->n = rows->n_places * s->n_layers;
}

/* Places [first, end), in one batch. */
static int run_batch(const struct cli_states *s, struct nk_forward *forward,
                     const struct rows *rows, size_t first, size_t end, float *values) {
  size_t dim = nk_forward_shape(forward)->dim, n = 0;
  struct nk_sequence *sequences = nk_alloc(end - first, sizeof *sequences);
  struct nk_ask *asks = nk_calloc(end - first, sizeof *asks);
  int code = sequences == NULL || asks == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = first; i < end && code == NK_OK; i++) {
    if (begins_context(rows, first, i)) sequences[n++] = s->contexts->item[rows->context[i]];
    asks[i - first] = (struct nk_ask){.sequence = n - 1,
                                      .position = rows->position[i],
                                      .layers = s->layers,
                                      .n_layers = s->n_layers,
                                      .residuals = values + i * s->n_layers * dim};
  }
  const struct nk_batch batch = {
      .sequences = sequences, .n_sequences = n, .asks = asks, .n_asks = end - first};
  if (code == NK_OK) code = nk_forward_run(forward, &batch);
  nk_free(sequences);
  nk_free(asks);
  return code;
}

static int set_columns(const struct cli_states *s, const struct rows *rows,
                       struct nk_vectors *out) {
  static const char *const names[] = {"context", "position", "token", "layer"};
  enum { N_COLUMNS = sizeof names / sizeof *names };
  int64_t *columns = nk_alloc(rows->n, N_COLUMNS * sizeof *columns);
  int code = columns == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < rows->n && code == NK_OK; i++) {
    size_t place = i / s->n_layers;
    columns[i] = (int64_t)rows->context[place];
    columns[rows->n + i] = (int64_t)rows->position[place];
    columns[2 * rows->n + i] = out->ids[i];
    columns[3 * rows->n + i] = (int64_t)s->layers[i % s->n_layers];
  }
  for (size_t c = 0; c < N_COLUMNS && code == NK_OK; c++)
    code = nk_vectors_set_integers(out, names[c], columns + c * rows->n);
  nk_free(columns);
  return code;
}

static int describe(const struct cli_states *s, const struct rows *rows, struct nk_model *model,
                    struct nk_vectors *out) {
  const char *slash = strrchr(s->contexts->name, '/');
  char space[48] = "residual"; /* of several layers */
  if (s->n_layers == 1) snprintf(space, sizeof space, "residual:%zu", s->layers[0]);
  for (size_t i = 0; i < rows->n; i++) {
    size_t place = i / s->n_layers;
    out->ids[i] = s->contexts->item[rows->context[place]].ids[rows->position[place]];
  }
  int code = nk_tokenizer_label(nk_model_tokenizer(model), out);
  if (code == NK_OK) code = set_columns(s, rows, out);
  if (code == NK_OK) code = nk_vectors_set_metadata(out, "noken.space", space);
  if (code == NK_OK) code = nk_vectors_set_metadata(out, "noken.model", nk_model_name(model));
  if (code == NK_OK)
    code = nk_vectors_set_metadata(out, "noken.contexts",
                                   slash == NULL ? s->contexts->name : slash + 1);
  return code;
}

struct nk_vectors *cli_states_capture(const struct cli_states *s, struct nk_model *model) {
  struct nk_forward *forward = nk_model_forward(model);
  struct rows rows = {0};
  struct nk_vectors *out = NULL;
  int code = forward == NULL ? nk_error_code() : find_places(s, &rows);
  if (code == NK_OK) {
    keep_shard(s, &rows);
    out = nk_vectors_new(rows.n, nk_forward_shape(forward)->dim, NULL, false);
    if (out == NULL) code = nk_error_code();
  }
  for (size_t first = 0, end; first < rows.n_places && code == NK_OK; first = end) {
    end = batch_end(s, &rows, first);
    code = run_batch(s, forward, &rows, first, end, nk_vectors_writable(out));
  }
  if (code == NK_OK) code = describe(s, &rows, model, out);
  if (code == NK_OK) code = cli_shard_mark(&s->shard, out);
  nk_free(rows.context);
  nk_free(rows.position);
  if (code == NK_OK) return out;
  nk_vectors_free(out);
  return NULL;
}
