/* The logit lens (nostalgebraist 2020) and linear maps before it (the tuned lens, Belrose et al.
 * 2023). The streams of a slice of items are captured at all layers in one pass. Each layer's are
 * then read out by a batch of sequences of one token, whose stream before the final norm they
 * replace: what is read is exactly what the model's last step makes of them. The model's own
 * distribution is read in the same way from the last layer's streams, in a batch of the same shape
 * as any other layer's, so that the lens at the last layer is the model's distribution to the last
 * bit. */
#include "cli/lens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/shard.h"

/* ---- Options ---- */

static int refuse(const char *path, const char *name, const char *dtype, size_t n, size_t dim) {
  return nk_fail(NK_EDATA, "%s: '%s' (%s, %zu values): a lens has a matrix and 'bias', %zu floats",
                 path, name, dtype, n, dim);
}

/* The bias may be missing, but not unread: what else the file has may be one under another name. */
static int check_bias(const struct nk_vectors *map, const char *path) {
  const struct nk_tensor *tensor = map->carried;
  if (map->n_carried > 0)
    return refuse(path, tensor->name,
                  tensor->dtype_name != NULL ? tensor->dtype_name : nk_dtype_names[tensor->dtype],
                  tensor->n_elements, map->n);
  for (size_t c = 0; c < map->n_columns; c++) {
    const struct nk_column *column = &map->columns[c];
    if (strcmp(column->name, "bias") != 0 || column->dtype == NK_I64)
      return refuse(path, column->name, nk_dtype_names[column->dtype], map->n, map->n);
    for (size_t i = 0; i < map->n; i++)
      if (!isfinite(column->data.number[i]))
        return nk_fail(NK_EDATA, "%s: row %zu: the bias is not finite", path, i);
  }
  return NK_OK;
}

static struct nk_vectors *read_map(const char *path, size_t dim) {
  struct nk_vectors *map = nk_vectors_read(path);
  if (map == NULL) return NULL;
  int code = NK_OK;
  if (map->n != dim || map->dim != dim)
    code = nk_fail(NK_EDATA,
                   "%s: a matrix of %zu rows of %zu values: a lens has %zu by %zu, the "
                   "width of the model",
                   path, map->n, map->dim, dim, dim);
  if (code == NK_OK) {
    code = nk_vectors_check_finite(&map, false);
    if (code != NK_OK) nk_fail_in(code, "%s", path);
  }
  if (code == NK_OK) code = check_bias(map, path);
  if (code == NK_OK) return map;
  nk_vectors_free(map);
  return NULL;
}

int cli_lens_read(const char *layers, const struct cli_strings *files, size_t n_top,
                  const struct nk_forward_shape *shape, struct cli_lens *lens) {
  *lens = (struct cli_lens){.n_top = n_top, .offsets = {0, NK_PROMPT_END}};
  int code = cli_parse_layers("--lens", layers, 0, shape->n_layers, &lens->layers, &lens->n_layers);
  if (code != NK_OK) return code;
  if (n_top < 1 || n_top > shape->n_vocabulary)
    return nk_fail(NK_EUSAGE, "--top %zu: the model has %zu tokens", n_top, shape->n_vocabulary);
  if (files->n == 0) return NK_OK;
  if (files->n != lens->n_layers)
    return nk_fail(NK_EUSAGE, "--lens-with: %zu files for the %zu layers of --lens: one each",
                   files->n, lens->n_layers);
  lens->maps = nk_calloc(lens->n_layers, sizeof(struct nk_vectors *));
  if (lens->maps == NULL) return NK_EMEMORY;
  for (size_t l = 0; l < lens->n_layers && code == NK_OK; l++) {
    lens->maps[l] = read_map(files->item[l], shape->dim);
    if (lens->maps[l] == NULL) code = nk_error_code();
  }
  return code;
}

void cli_lens_free(struct cli_lens *lens) {
  for (size_t l = 0; lens->maps != NULL && l < lens->n_layers; l++) nk_vectors_free(lens->maps[l]);
  nk_free(lens->maps);
  nk_free(lens->layers);
}

/* ---- Reading streams out ---- */

struct answer {
  double entropy, final_prob, kl, kl_reverse;
  size_t final_rank;
};

/* A slice of items: n states, an item at an offset each. */
struct reading {
  const struct cli_lens *lens;
  struct nk_forward *forward;
  size_t n, dim, n_vocabulary;
  float *streams; /* [n, n_layers + 1, dim], the last layer's own behind the others */
  float *x;       /* [n, dim] of one layer */
  int64_t id;     /* of every sequence: its stream is replaced */
  struct nk_sequence *sequences;
  struct nk_override *overrides;
  struct nk_ask *asks;
  float *logits;         /* [n, n_vocabulary] of one layer */
  float *final_logits;   /* [n, n_vocabulary] */
  float *final_probs;    /* [n, n_vocabulary] */
  double *final_sum;     /* [n] log_sum_exp */
  int64_t *final_ids;    /* [n] the most probable token */
  struct answer *answer; /* [n, n_layers] */
  int64_t *top_ids;      /* [n, n_layers, n_top] */
  float *top_log_probs;  /* the same */
};

static void free_reading(struct reading *r) {
  nk_free(r->streams);
  nk_free(r->x);
  nk_free(r->sequences);
  nk_free(r->overrides);
  nk_free(r->asks);
  nk_free(r->logits);
  nk_free(r->final_logits);
  nk_free(r->final_probs);
  nk_free(r->final_sum);
  nk_free(r->final_ids);
  nk_free(r->answer);
  nk_free(r->top_ids);
  nk_free(r->top_log_probs);
}

/* Arrays for n states; n times their bytes is bounded by n_at_once. */
static int make_reading(struct reading *r, size_t n) {
  size_t layers = r->lens->n_layers, top = layers * r->lens->n_top;
  r->n = n;
  r->streams = nk_alloc(n, (layers + 1) * r->dim * sizeof(float));
  r->x = nk_alloc(n, r->dim * sizeof(float));
  r->sequences = nk_alloc(n, sizeof *r->sequences);
  r->overrides = nk_alloc(n, sizeof *r->overrides);
  r->asks = nk_alloc(n, sizeof *r->asks);
  r->logits = nk_alloc(n, r->n_vocabulary * sizeof(float));
  r->final_logits = nk_alloc(n, r->n_vocabulary * sizeof(float));
  r->final_probs = nk_alloc(n, r->n_vocabulary * sizeof(float));
  r->final_sum = nk_alloc(n, sizeof *r->final_sum);
  r->final_ids = nk_alloc(n, sizeof *r->final_ids);
  r->answer = nk_alloc(n, layers * sizeof *r->answer);
  r->top_ids = nk_alloc(n, top * sizeof *r->top_ids);
  r->top_log_probs = nk_alloc(n, top * sizeof *r->top_log_probs);
  bool made = r->streams != NULL && r->x != NULL && r->sequences != NULL && r->overrides != NULL &&
              r->asks != NULL && r->logits != NULL && r->final_logits != NULL &&
              r->final_probs != NULL && r->final_sum != NULL && r->final_ids != NULL &&
              r->answer != NULL && r->top_ids != NULL && r->top_log_probs != NULL;
  return made ? NK_OK : NK_EMEMORY;
}

/* r->x = the streams at the layer in this place of the list, or W x + b of them. */
static void take_layer(struct reading *r, size_t place, const struct nk_vectors *map) {
  size_t dim = r->dim, stride = (r->lens->n_layers + 1) * dim;
  const struct nk_column *bias = nk_vectors_column(map, "bias");
#pragma omp parallel for collapse(2) schedule(static)
  for (size_t i = 0; i < dim; i++)
    for (size_t row = 0; row < r->n; row++) {
      const float *from = r->streams + row * stride + place * dim;
      double sum = bias == NULL ? 0 : bias->data.number[i];
      if (map == NULL) {
        r->x[row * dim + i] = from[i];
        continue;
      }
      const float *w = map->values + i * dim;
#pragma omp simd reduction(+ : sum)
      for (size_t j = 0; j < dim; j++) sum += (double)w[j] * (double)from[j];
      r->x[row * dim + i] = (float)sum;
    }
}

/* logits [n, n_vocabulary] of r->x, and what else the asks say. */
static int read_out(struct reading *r, float *logits) {
  const struct nk_forward_shape *shape = nk_forward_shape(r->forward);
  for (size_t i = 0; i < r->n; i++) {
    r->sequences[i] = (struct nk_sequence){&r->id, 1};
    r->overrides[i] = (struct nk_override){
        .sequence = i, .layer = shape->n_layers, .mode = NK_REPLACE, .vector = r->x + i * r->dim};
    r->asks[i].sequence = i;
    r->asks[i].position = 0;
    r->asks[i].logits = logits + i * r->n_vocabulary;
  }
  const struct nk_batch batch = {.sequences = r->sequences,
                                 .n_sequences = r->n,
                                 .overrides = r->overrides,
                                 .n_overrides = r->n,
                                 .asks = r->asks,
                                 .n_asks = r->n};
  return nk_forward_run(r->forward, &batch);
}

/* The model's own distributions: final_... of all states. */
static int read_final(struct reading *r) {
  float *log_probs = nk_alloc(r->n, sizeof *log_probs);
  if (log_probs == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < r->n; i++)
    r->asks[i] =
        (struct nk_ask){.n_top = 1, .top_ids = &r->final_ids[i], .top_log_probs = &log_probs[i]};
  take_layer(r, r->lens->n_layers, NULL);
  int code = read_out(r, r->final_logits);
  nk_free(log_probs);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < r->n; i++) r->final_sum[i] = r->asks[i].log_sum_exp;
#pragma omp parallel for
  for (size_t i = 0; i < r->n; i++) {
    const float *logits = r->final_logits + i * r->n_vocabulary;
    float *probs = r->final_probs + i * r->n_vocabulary;
    for (size_t k = 0; k < r->n_vocabulary; k++)
      probs[k] = (float)exp((double)logits[k] - r->final_sum[i]);
  }
  return NK_OK;
}

/* What the logits of state i say beside the final ones. */
static void compare(const struct reading *r, size_t i, struct answer *out) {
  size_t n = r->n_vocabulary, id = (size_t)r->final_ids[i];
  const float *logits = r->logits + i * n, *final = r->final_logits + i * n,
              *final_probs = r->final_probs + i * n;
  double own_sum = r->asks[i].log_sum_exp, final_sum = r->final_sum[i];
  *out = (struct answer){.entropy = r->asks[i].entropy, .final_rank = 1};
  for (size_t k = 0; k < n; k++) {
    double own_log = (double)logits[k] - own_sum,
           log_ratio = own_log - ((double) final[k] - final_sum);
    out->kl += exp(own_log) * log_ratio;
    out->kl_reverse -= (double)final_probs[k] * log_ratio;
    if (logits[k] > logits[id] || (k < id && logits[k] == logits[id])) out->final_rank++;
  }
  out->final_prob = exp((double)(float)((double)logits[id] - own_sum)); /* as top_prob */
}

static int read_layer(struct reading *r, size_t place) {
  size_t layers = r->lens->n_layers, n_top = r->lens->n_top;
  for (size_t i = 0; i < r->n; i++) {
    size_t at = (i * layers + place) * n_top;
    r->asks[i] = (struct nk_ask){
        .n_top = n_top, .top_ids = r->top_ids + at, .top_log_probs = r->top_log_probs + at};
  }
  take_layer(r, place, r->lens->maps == NULL ? NULL : r->lens->maps[place]);
  int code = read_out(r, r->logits);
  if (code != NK_OK) return nk_fail_in(code, "--lens: layer %zu", r->lens->layers[place]);
#pragma omp parallel for
  for (size_t i = 0; i < r->n; i++) compare(r, i, &r->answer[i * layers + place]);
  return NK_OK;
}

/* All layers of the items in a probe. */
static int read_items(struct reading *r, struct nk_probe *probe, const struct nk_items *items) {
  size_t n_layers = r->lens->n_layers, last = nk_forward_shape(r->forward)->n_layers;
  size_t *layers = nk_alloc(n_layers + 1, sizeof *layers);
  if (layers == NULL) return NK_EMEMORY;
  memcpy(layers, r->lens->layers, n_layers * sizeof *layers);
  layers[n_layers] = last;
  int code = nk_probe_capture(probe, items, layers, n_layers + 1, r->streams);
  if (code == NK_OK) code = read_final(r);
  for (size_t l = 0; l < n_layers && code == NK_OK; l++) code = read_layer(r, l);
  nk_free(layers);
  return code;
}

/* ---- The table ---- */

int cli_lens_head(const struct cli_lens *lens, const struct cli_behaviour_table *what,
                  struct cli_table *table) {
  static const char *const top[] = {"top_id", "top_text", "top_prob"};
  static const char *const rest[] = {"final_id",   "final_text", "final_rank",
                                     "final_prob", "kl",         "kl_reverse"};
  int code = cli_behaviour_head_place(what, table);
  if (code == NK_OK) code = cli_table_column(table, "layer");
  if (code == NK_OK) code = cli_table_column(table, "entropy");
  for (size_t k = 0; k < lens->n_top; k++)
    for (size_t i = 0; i < sizeof top / sizeof *top && code == NK_OK; i++) {
      char name[48];
      snprintf(name, sizeof name, "%s_%zu", top[i], k + 1);
      code = cli_table_column(table, k == 0 ? top[i] : name);
    }
  for (size_t i = 0; i < sizeof rest / sizeof *rest && code == NK_OK; i++)
    code = cli_table_column(table, rest[i]);
  return code == NK_OK ? cli_behaviour_head_tail(what, table) : code;
}

static void write_answer(const struct reading *r, const struct cli_behaviour_table *what,
                         size_t state, size_t place, struct cli_table *table) {
  size_t at = state * r->lens->n_layers + place;
  const struct answer *answer = &r->answer[at];
  cli_table_integer(table, (int64_t)r->lens->layers[place]);
  cli_table_number(table, answer->entropy);
  for (size_t k = at * r->lens->n_top; k < (at + 1) * r->lens->n_top; k++) {
    cli_table_integer(table, r->top_ids[k]);
    cli_behaviour_token(what, r->top_ids[k], table);
    cli_table_number(table, exp((double)r->top_log_probs[k]));
  }
  cli_table_integer(table, r->final_ids[state]);
  cli_behaviour_token(what, r->final_ids[state], table);
  cli_table_integer(table, (int64_t)answer->final_rank);
  cli_table_number(table, answer->final_prob);
  cli_table_number(table, answer->kl);
  cli_table_number(table, answer->kl_reverse);
}

static int write_rows(const struct reading *r, const struct cli_behaviour_table *what,
                      const struct cli_lens_probe *probe, size_t first, struct cli_table *table) {
  size_t n_offsets, n_layers = r->lens->n_layers;
  const size_t *offsets = nk_probe_offsets(probe->probe, &n_offsets);
  int code = NK_OK;
  for (size_t i = 0; i < r->n; i++)
    for (size_t l = 0; l < n_layers && code == NK_OK; l++) {
      const struct cli_place place = {first + i / n_offsets, probe->prompt, offsets[i % n_offsets],
                                      probe->at};
      cli_behaviour_place(what, &place, table);
      write_answer(r, what, i, l, table);
      cli_behaviour_tail(what, place.item, table);
      code = cli_table_end_row(table);
    }
  return code;
}

/* ---- Slices ---- */

enum { SLICE_BYTES = 1 << 28 };

/* Items whose arrays take SLICE_BYTES: at least one. */
static size_t items_at_once(const struct reading *r, size_t n_offsets) {
  size_t state = (r->lens->n_layers + 2) * r->dim + 3 * r->n_vocabulary;
  size_t n = SLICE_BYTES / sizeof(float) / state / n_offsets;
  return n > 0 ? n : 1;
}

int cli_lens_rows(const struct cli_lens *lens, const struct cli_behaviour_table *what,
                  const struct cli_lens_probe *probe, struct cli_table *table) {
  struct nk_forward *forward = nk_model_forward(probe->model);
  const struct nk_forward_shape *shape = nk_forward_shape(forward);
  if (shape == NULL) return nk_error_code();
  size_t n_offsets, end = probe->first + probe->n;
  nk_probe_offsets(probe->probe, &n_offsets);
  const struct reading empty = {
      .lens = lens, .forward = forward, .dim = shape->dim, .n_vocabulary = shape->n_vocabulary};
  size_t some = items_at_once(&empty, n_offsets);
  int code = NK_OK;
  for (size_t first = probe->first; first < end && code == NK_OK; first += some) {
    struct nk_vectors vectors;
    struct reading r = empty;
    size_t n_here = end - first < some ? end - first : some;
    const struct nk_items items = cli_slice_items(what->items, first, n_here, &vectors);
    code = make_reading(&r, n_here * n_offsets);
    if (code == NK_OK) code = read_items(&r, probe->probe, &items);
    if (code == NK_OK) code = write_rows(&r, what, probe, first, table);
    free_reading(&r);
  }
  return code;
}
