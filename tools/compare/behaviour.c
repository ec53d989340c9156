/* What items do in all prompts, and the rows that are written of it. */
#include <math.h>
#include <stdio.h>

#include "compare/compare.h"

/* ---- Running ---- */

static size_t count_items(const struct nk_items *items) {
  return items->n_tokens + (items->vectors != NULL ? items->vectors->n : 0);
}

void compare_behaviour_free(struct compare_behaviour *b) {
  for (int side = 0; side < COMPARE_SIDES; side++) {
    nk_free(b->p_value[side]);
    nk_free(b->kl[side]);
    nk_free(b->entropy[side]);
  }
  *b = (struct compare_behaviour){0};
}

static int run_prompt(struct nk_probe *probe, const struct nk_items *items, size_t n, size_t prompt,
                      int side, struct compare_behaviour *out) {
  struct nk_behaviour *b = nk_probe_run(probe, items);
  if (b == NULL) return nk_error_code();
  for (size_t i = 0; i < n; i++) { /* each at the prompt's end alone */
    out->p_value[side][prompt * n + i] = b->p_value[i];
    out->kl[side][prompt * n + i] = b->kl[i];
    out->entropy[side][prompt * n + i] = b->entropy[i];
  }
  nk_behaviour_free(b);
  return NK_OK;
}

int compare_run(const struct compare_job *job, struct nk_probe **const probes[COMPARE_SIDES],
                const struct nk_items items[COMPARE_SIDES], struct compare_behaviour *out) {
  size_t n = count_items(&items[COMPARE_BEFORE]), n_prompts = job->prompts.n;
  int code = NK_OK;
  *out = (struct compare_behaviour){.n_items = n};
  for (int side = 0; side < COMPARE_SIDES && code == NK_OK; side++) {
    out->p_value[side] = nk_alloc(n, n_prompts * sizeof(double));
    out->kl[side] = nk_alloc(n, n_prompts * sizeof(double));
    out->entropy[side] = nk_alloc(n, n_prompts * sizeof(double));
    if (out->p_value[side] == NULL || out->kl[side] == NULL || out->entropy[side] == NULL)
      code = NK_EMEMORY;
    for (size_t p = 0; p < n_prompts && code == NK_OK; p++)
      code = run_prompt(probes[side][p], &items[side], n, p, side, out);
    if (code != NK_OK && code != NK_EMEMORY && code != NK_EINTERRUPTED)
      nk_fail_in(code, "%s", job->run->operands[side]);
  }
  return code;
}

/* ---- Rows ---- */

/* What rows are written of. */
struct writer {
  const struct compare_job *job;
  const char *name; /* of the items */
  const struct compare_behaviour *behaviour;
  const size_t *cluster; /* [n_items] or NULL */
  bool all;              /* not the share alone */
};

/* The rows of a group of items, `about` says which. */
static int write_group(const struct writer *w, const struct compare_row *about, const size_t *items,
                       size_t n) {
  const struct compare_behaviour *b = w->behaviour;
  const struct {
    const char *name, *unit;
    enum compare_statistic statistic;
    double cut;
    double *const *value;
  } measures[] = {{"ood", "share", COMPARE_SHARE, w->job->options.level, b->p_value},
                  {"kl", "nats", COMPARE_QUANTILE, 0.5, b->kl},
                  {"entropy", "nats", COMPARE_QUANTILE, 0.5, b->entropy}};
  int code = NK_OK;
  for (size_t m = 0; m < (w->all ? 3 : 1) && code == NK_OK; m++) {
    char full[64];
    double *const *value = measures[m].value;
    struct compare_row row = *about;
    const struct compare_values values = {.value = {value[COMPARE_BEFORE], value[COMPARE_AFTER]},
                                          .n_items = b->n_items,
                                          .n_places = w->job->prompts.n,
                                          .cluster = w->cluster};
    snprintf(full, sizeof full, "%s_%s", w->name, measures[m].name);
    row.name = full;
    row.unit = measures[m].unit;
    row.statistic = measures[m].statistic;
    row.cut = measures[m].cut;
    code = compare_write(w->job, &row, &values, items, n);
  }
  return code;
}

static const struct compare_row EVERY = {.distance = (double)NAN,
                                         .quantile = (double)NAN,
                                         .times = (double)NAN,
                                         .layer = COMPARE_NOT_GIVEN};

int compare_write_tokens(const struct compare_job *job, const char *name,
                         const struct compare_behaviour *behaviour, bool all) {
  const struct writer writer = {.job = job, .name = name, .behaviour = behaviour, .all = all};
  size_t *items = nk_alloc(behaviour->n_items, sizeof *items);
  if (items == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < behaviour->n_items; i++) items[i] = i;
  int code = write_group(&writer, &EVERY, items, behaviour->n_items);
  nk_free(items);
  return code;
}

/* ---- Groups of nokens ---- */

/* What nokens of a group have in common; each with what those before it have. */
enum common { NOTHING, DISTANCE, DIRECTION, N_COMMON };
static const char *const COMMON[N_COMMON] = {"", "distance", "direction"};

/* Most groups of a set that was given: a quantity that hardly two nokens have alike has none. */
enum { MOST_GIVEN = 256, MEMBERS = 2 };

/* A set, and the most groups that it can have. */
struct grouping {
  const struct nk_vectors *set;
  size_t most;
  size_t *of, *items, *first; /* [set->n] room */
};

static bool is_alike(const struct nk_vectors *set, enum common common, size_t a, size_t b) {
  for (int c = DISTANCE; c <= (int)common; c++)
    if (!cli_column_same(nk_vectors_column(set, COMMON[c]), a, b)) return false;
  return true;
}

/* g->of = the group of each noken, in order of first appearance; returns how many there are, or
 * g->most + 1 where there are more. */
static size_t find_groups(const struct grouping *g, enum common common) {
  size_t n = 0;
  for (size_t i = 0; i < g->set->n; i++) {
    size_t k = 0;
    while (k < n && !is_alike(g->set, common, g->first[k], i)) k++;
    if (k == n && n == g->most) return g->most + 1;
    if (k == n) g->first[n++] = i;
    g->of[i] = k;
  }
  return n;
}

/* The number that all items have in a column; NaN where they differ. */
static double common_number(const struct nk_vectors *set, const char *name, const size_t *items,
                            size_t n) {
  const struct nk_column *column = nk_vectors_column(set, name);
  for (size_t i = 1; i < n && column != NULL; i++)
    if (!cli_column_same(column, items[0], items[i])) column = NULL;
  return column != NULL ? cli_column_number(column, items[0]) : (double)NAN;
}

/* The word or the number of a direction that all items have; "" where they differ. */
static int common_direction(const struct nk_vectors *set, const size_t *items, size_t n,
                            struct nk_buffer *text) {
  const struct nk_column *column = nk_vectors_column(set, COMMON[DIRECTION]);
  double number = common_number(set, COMMON[DIRECTION], items, n);
  const char *word;
  size_t length;
  nk_buffer_clear(text);
  if (isnan(number)) return NK_OK;
  int code = cli_set_word(set, column, items[0], &word, &length);
  if (code != NK_OK) return code;
  if (word != NULL)
    nk_buffer_append(text, word, length);
  else
    nk_buffer_number(text, number);
  return text->failed ? nk_fail(NK_EMEMORY, "no memory for a direction") : NK_OK;
}

static int write_nokens(const struct writer *w, const struct nk_vectors *set, enum common common,
                        size_t layer, const size_t *items, size_t n) {
  struct compare_row about = {.distance = common_number(set, "distance", items, n),
                              .quantile = common_number(set, "quantile", items, n),
                              .times = common_number(set, "times", items, n),
                              .layer = layer};
  struct nk_buffer direction = {0};
  int code = common_direction(set, items, n, &direction);
  if (direction.size > 0) about.direction = direction.data;
  if (common == NOTHING) about.kind = "all";
  if (common == DIRECTION) about.kind = about.direction;
  if (code == NK_OK) code = write_group(w, &about, items, n);
  nk_buffer_free(&direction);
  return code;
}

/* The rows of all groups; *n_groups: 0 where the set has no such groups. */
static int write_groups(const struct writer *w, const struct grouping *g, enum common common,
                        size_t layer, size_t *n_groups) {
  const struct nk_vectors *set = g->set;
  size_t before = *n_groups;
  int code = NK_OK;
  *n_groups = 0;
  if (common != NOTHING && nk_vectors_column(set, COMMON[common]) == NULL) return NK_OK;
  size_t n_found = find_groups(g, common);
  if (n_found > g->most) {
    nk_warn("%s: no rows by %s: the %zu nokens have more than %zu", w->name, COMMON[common], set->n,
            g->most);
    return NK_OK;
  }
  *n_groups = n_found;
  if (common == DIRECTION && n_found == before) return NK_OK; /* one direction */
  for (size_t k = 0; k < n_found && code == NK_OK; k++) {
    size_t n = 0;
    for (size_t i = 0; i < set->n; i++)
      if (g->of[i] == k) g->items[n++] = i;
    code = write_nokens(w, set, common, layer, g->items, n);
  }
  return code;
}

/* cluster [set->n] = what nokens depend on each other: those of a ray, at all distances. */
static int find_clusters(const struct nk_vectors *set, size_t *cluster) {
  const struct nk_column *ray = nk_vectors_column(set, "ray");
  struct cli_names names = {0};
  int code = NK_OK;
  for (size_t i = 0; i < set->n && code == NK_OK; i++) {
    char name[40];
    cluster[i] = i;
    if (ray == NULL) continue;
    snprintf(name, sizeof name, "%.17g", cli_column_number(ray, i));
    code = cli_names_add(&names, name, &cluster[i]);
  }
  cli_names_free(&names);
  return code;
}

int compare_write_nokens(const struct compare_job *job, const char *name, size_t layer,
                         const struct nk_vectors *set, const struct compare_behaviour *behaviour) {
  size_t *room = nk_alloc(set->n, 4 * sizeof *room), n_groups = 0;
  if (room == NULL) return NK_EMEMORY;
  size_t *cluster = room + 3 * set->n;
  struct grouping g = {set, set->n, room, room + set->n, room + 2 * set->n};
  const struct writer writer = {
      .job = job, .name = name, .behaviour = behaviour, .cluster = cluster, .all = true};
  int code = find_clusters(set, cluster);
  if (set == job->nokens) g.most = set->n / MEMBERS < MOST_GIVEN ? set->n / MEMBERS : MOST_GIVEN;
  if (code == NK_OK) code = write_groups(&writer, &g, DISTANCE, layer, &n_groups);
  if (code == NK_OK && n_groups > 0) code = write_groups(&writer, &g, DIRECTION, layer, &n_groups);
  g.most = set->n;
  if (code == NK_OK) code = write_groups(&writer, &g, NOTHING, layer, &n_groups);
  nk_free(room);
  return code;
}
