/* Effects of all rows of a set, and their table. Rows are run by place, so that each baseline is
 * computed once, and printed in the set's order. */
#include "cli/paired.h"

#include <noken/forward.h>
#include <stdio.h>
#include <string.h>

#include "cli/places.h"

static const size_t BASELINE_BYTES = (size_t)256 << 20;
enum { ROWS_AT_ONCE = 8192 };

/* ---- Effects ---- */

/* The effects on all rows, [n] each, relative [n, n_norms]. */
struct results {
  double *kl, *kl_reverse, *js, *final_l2, *final_cosine, *relative;
  int64_t *top_id, *base_top_id;
};

static int make_results(size_t n, size_t n_norms, struct results *r) {
  *r = (struct results){.kl = nk_alloc(n, sizeof(double)),
                        .kl_reverse = nk_alloc(n, sizeof(double)),
                        .js = nk_alloc(n, sizeof(double)),
                        .final_l2 = nk_alloc(n, sizeof(double)),
                        .final_cosine = nk_alloc(n, sizeof(double)),
                        .relative = nk_alloc(n, n_norms * sizeof(double)),
                        .top_id = nk_alloc(n, sizeof(int64_t)),
                        .base_top_id = nk_alloc(n, sizeof(int64_t))};
  bool failed = r->kl == NULL || r->kl_reverse == NULL || r->js == NULL || r->final_l2 == NULL ||
                r->final_cosine == NULL || r->relative == NULL || r->top_id == NULL ||
                r->base_top_id == NULL;
  return failed ? NK_EMEMORY : NK_OK;
}

static void free_results(struct results *r) {
  nk_free(r->kl);
  nk_free(r->kl_reverse);
  nk_free(r->js);
  nk_free(r->final_l2);
  nk_free(r->final_cosine);
  nk_free(r->relative);
  nk_free(r->top_id);
  nk_free(r->base_top_id);
}

/* The part of results from number `first` on. */
static struct nk_effects effects_from(const struct results *r, size_t first, size_t n_norms) {
  return (struct nk_effects){.kl = r->kl + first,
                             .kl_reverse = r->kl_reverse + first,
                             .js = r->js + first,
                             .top_id = r->top_id + first,
                             .base_top_id = r->base_top_id + first,
                             .final_l2 = r->final_l2 + first,
                             .final_cosine = r->final_cosine + first,
                             .relative = r->relative + first * n_norms};
}

/* ---- Running ---- */

/* Rows by place: those of place p are row[start[p], start[p + 1]). */
struct by_place {
  size_t *start; /* [places + 1] */
  size_t *row;   /* [set->n] */
};

static int sort_by_place(const struct cli_places *places, size_t n, struct by_place *by) {
  by->start = nk_calloc(places->n + 2, sizeof *by->start);
  by->row = nk_alloc(n, sizeof *by->row);
  if (by->start == NULL || by->row == NULL) return NK_EMEMORY;
  size_t *next = by->start + 1; /* becomes start once filled */
  for (size_t i = 0; i < n; i++) next[places->of_row[i] + 1]++;
  for (size_t p = 1; p <= places->n; p++) next[p] += next[p - 1];
  for (size_t i = 0; i < n; i++) by->row[next[places->of_row[i]]++] = i;
  return NK_OK;
}

/* Numbers [first, end) of by->row, whose places begin with number `place`. */
static int run_rows(const struct cli_paired *paired, struct nk_perturb *perturb,
                    const struct by_place *by, const struct cli_places *places, size_t place,
                    const size_t range[2], const struct results *results) {
  size_t n = range[1] - range[0], dim = paired->set->dim;
  float *vectors = nk_alloc(n, dim * sizeof *vectors);
  size_t *where = nk_alloc(n, sizeof *where);
  int code = vectors == NULL || where == NULL ? NK_EMEMORY : NK_OK;
  for (size_t i = 0; i < n && code == NK_OK; i++) {
    size_t row = by->row[range[0] + i];
    memcpy(vectors + i * dim, paired->set->values + row * dim, dim * sizeof *vectors);
    where[i] = places->of_row[row] - place;
  }
  struct nk_effects effects = effects_from(results, range[0], paired->n_norms);
  if (code == NK_OK) code = nk_perturb_run(perturb, where, vectors, n, &effects);
  nk_free(vectors);
  nk_free(where);
  return code;
}

/* Places [first, end): their baselines, then their rows. */
static int run_places(const struct cli_paired *paired, const struct cli_contexts *contexts,
                      const struct cli_places *places, const struct by_place *by, size_t first,
                      size_t end, const struct results *results) {
  const struct nk_perturb_options options = {.contexts = contexts->item,
                                             .n_contexts = contexts->n,
                                             .places = places->item + first,
                                             .n_places = end - first,
                                             .mode = paired->mode,
                                             .fill = paired->fill,
                                             .layers = paired->norms,
                                             .n_layers = paired->n_norms};
  struct nk_perturb *perturb = nk_perturb_new(paired->model, &options);
  int code = perturb == NULL ? nk_error_code() : NK_OK;
  for (size_t at = by->start[first]; at < by->start[end] && code == NK_OK; at += ROWS_AT_ONCE) {
    size_t left = by->start[end] - at;
    const size_t range[2] = {at, at + (left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE)};
    code = run_rows(paired, perturb, by, places, first, range, results);
  }
  nk_perturb_free(perturb);
  return code;
}

static int run_all(const struct cli_paired *paired, const struct cli_contexts *contexts,
                   const struct cli_places *places, const struct by_place *by,
                   const struct results *results) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(paired->model));
  size_t each = shape->n_vocabulary + (paired->n_norms + 2) * shape->dim;
  size_t most = BASELINE_BYTES / sizeof(float) / each, end;
  int code = NK_OK;
  for (size_t first = 0; first < places->n && code == NK_OK; first = end) {
    end = places->n - first < most ? places->n : first + (most == 0 ? 1 : most);
    code = run_places(paired, contexts, places, by, first, end, results);
  }
  return code;
}

/* ---- The table ---- */

static bool is_shown(const struct cli_paired *paired, const char *column) {
  if (paired->contexts == NULL) return false;
  return strcmp(column, "context") == 0 ||
         (strcmp(column, "position") == 0 && !paired->at_position) ||
         (strcmp(column, "layer") == 0 && !paired->at);
}

/* The set with those of its columns that the table does not have already; free their array. */
static int carried(const struct cli_paired *paired, struct nk_vectors *set) {
  *set = *paired->set;
  set->columns = nk_alloc(paired->set->n_columns, sizeof *set->columns);
  if (set->columns == NULL) return NK_EMEMORY;
  set->n_columns = 0;
  for (size_t c = 0; c < paired->set->n_columns; c++)
    if (!is_shown(paired, paired->set->columns[c].name))
      set->columns[set->n_columns++] = paired->set->columns[c];
  return NK_OK;
}

static int write_head(const struct cli_paired *paired, struct cli_table *table) {
  static const char *const names[] = {"position",    "layer",         "kl_base",  "kl_reverse",
                                      "js",          "top_same",      "top_id",   "top_text",
                                      "base_top_id", "base_top_text", "final_l2", "final_cosine"};
  struct nk_vectors set;
  int code = cli_set_head(paired->set, table);
  if (code == NK_OK)
    code = cli_table_column(table, paired->contexts == NULL ? "prompt" : "context");
  for (size_t i = 0; i < sizeof names / sizeof *names && code == NK_OK; i++)
    code = cli_table_column(table, names[i]);
  for (size_t l = 0; l < paired->n_norms && code == NK_OK; l++) {
    char name[48];
    snprintf(name, sizeof name, "relative_%zu", paired->norms[l]);
    code = cli_table_column(table, name);
  }
  if (code != NK_OK) return code;
  code = carried(paired, &set);
  if (code == NK_OK) code = cli_set_head_tail(&set, table);
  nk_free(set.columns);
  return code;
}

static void write_token(const struct cli_paired *paired, int64_t id, struct cli_table *table) {
  size_t n = 0;
  const char *bytes = nk_tokenizer_bytes(nk_model_tokenizer(paired->model), (size_t)id, &n);
  cli_table_integer(table, id);
  cli_table_text(table, bytes == NULL ? "" : bytes, bytes == NULL ? 0 : n);
}

/* Number `at` of the results. */
static void write_effects(const struct cli_paired *paired, const struct results *r, size_t at,
                          struct cli_table *table) {
  cli_table_number(table, r->kl[at]);
  cli_table_number(table, r->kl_reverse[at]);
  cli_table_number(table, r->js[at]);
  cli_table_integer(table, r->top_id[at] == r->base_top_id[at]);
  write_token(paired, r->top_id[at], table);
  write_token(paired, r->base_top_id[at], table);
  cli_table_number(table, r->final_l2[at]);
  cli_table_number(table, r->final_cosine[at]);
  for (size_t l = 0; l < paired->n_norms; l++)
    cli_table_number(table, r->relative[at * paired->n_norms + l]);
}

static int write_rows(const struct cli_paired *paired, const char *prompt,
                      const struct cli_places *places, const struct by_place *by,
                      const struct results *results, struct cli_table *table) {
  size_t n = paired->set->n;
  struct nk_vectors set = {0};
  size_t *number = nk_alloc(n, sizeof *number);
  int code = number == NULL ? NK_EMEMORY : carried(paired, &set);
  for (size_t i = 0; i < n && code == NK_OK; i++) number[by->row[i]] = i;
  for (size_t row = 0; row < n && code == NK_OK; row++) {
    const struct nk_place *place = &places->item[places->of_row[row]];
    cli_set_row(paired->set, row, table);
    if (prompt != NULL)
      cli_table_string(table, prompt);
    else
      cli_table_integer(table, (int64_t)place->context);
    cli_table_integer(table, (int64_t)place->position);
    cli_table_integer(table, (int64_t)place->layer);
    write_effects(paired, results, number[row], table);
    cli_set_row_tail(&set, row, table);
    code = cli_table_end_row(table);
  }
  nk_free(set.columns);
  nk_free(number);
  return code;
}

static int print_places(const struct cli_paired *paired, const struct cli_contexts *contexts,
                        const char *prompt, const struct cli_places *places,
                        struct cli_table *table) {
  struct by_place by = {0};
  struct results results = {0};
  int code = make_results(paired->set->n, paired->n_norms, &results);
  if (code == NK_OK) code = sort_by_place(places, paired->set->n, &by);
  if (code == NK_OK) code = run_all(paired, contexts, places, &by, &results);
  if (code == NK_OK) code = write_rows(paired, prompt, places, &by, &results, table);
  free_results(&results);
  nk_free(by.start);
  nk_free(by.row);
  return code;
}

/* ---- Contexts, prompts and layers ---- */

static size_t count_layers(const struct cli_paired *paired) {
  return paired->at ? paired->n_layers : 1;
}

/* Whether scan number `scan` is of the shard. */
static bool is_in_shard(const struct cli_paired *paired, size_t scan) {
  size_t n = paired->contexts != NULL ? 1 : paired->prompts->n, range[2];
  cli_shard_range(&paired->shard, n * count_layers(paired), range);
  return scan >= range[0] && scan < range[1];
}

/* The rows in these contexts, or prompt number `number` of this name, at each layer. */
static int print_contexts(const struct cli_paired *paired, const struct cli_contexts *contexts,
                          const char *prompt, size_t number, struct cli_table *table) {
  const struct nk_forward_shape *shape = nk_forward_shape(nk_model_forward(paired->model));
  int code = NK_OK;
  for (size_t l = 0; l < count_layers(paired) && code == NK_OK; l++) {
    if (table != NULL && !is_in_shard(paired, number * count_layers(paired) + l)) continue;
    const struct cli_place_rules rules = {.set = paired->set,
                                          .name = paired->name,
                                          .contexts = contexts,
                                          .of_prompt = prompt != NULL,
                                          .at_position = paired->at_position,
                                          .position = paired->position,
                                          .at_layer = paired->at,
                                          .layer = paired->at ? paired->layers[l] : 0,
                                          .n_layers = shape->n_layers,
                                          .read_place = paired->read_place};
    struct cli_places places = {0};
    code = cli_places_make(&rules, &places);
    if (code == NK_OK && table != NULL)
      code = print_places(paired, contexts, prompt, &places, table);
    cli_places_free(&places);
  }
  return code;
}

/* All contexts or prompts; table NULL: their places are checked. */
static int print_all(const struct cli_paired *paired, const struct cli_contexts *contexts,
                     struct cli_table *table) {
  if (contexts->n > 0) return print_contexts(paired, contexts, NULL, 0, table);
  int code = NK_OK;
  for (size_t p = 0; p < paired->prompts->n && code == NK_OK; p++) {
    const struct cli_prompt *prompt = &paired->prompts->item[p];
    struct cli_contexts one = {0};
    code = cli_contexts_of_prompt(paired->model, prompt->name, prompt->text, &one);
    if (code == NK_OK) code = print_contexts(paired, &one, prompt->name, p, table);
    cli_contexts_free(&one);
  }
  return code;
}

int cli_paired_print(const struct cli_paired *paired, const struct cli_run *run) {
  struct cli_contexts contexts = {0};
  struct nk_output *output = NULL;
  struct cli_table *table = NULL;
  int code = paired->contexts == NULL
                 ? NK_OK
                 : cli_contexts_read(paired->model, paired->contexts, &contexts);
  if (code == NK_OK) code = print_all(paired, &contexts, NULL);
  if (code == NK_OK) {
    output = cli_output(run, NK_OUTPUT_TEXT);
    table = output != NULL ? cli_shard_table(&paired->shard, run, output) : NULL;
    code = table != NULL ? write_head(paired, table) : nk_error_code();
  }
  if (code == NK_OK) code = print_all(paired, &contexts, table);
  cli_contexts_free(&contexts);
  return cli_close(table, output, code);
}
