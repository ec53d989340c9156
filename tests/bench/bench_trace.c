/* nk_probe_trace over the time of as many plain sequences of the same positions in batches of the
 * same size, each with one vector and the distribution at its end, timed in the same run:
 *
 *   trace_over_sequences   16 nokens in data/gpt2-tiny, 8 ordinary tokens, three positions
 *
 * What is above 1: outputs that are read, patches, divergences in double. */
#include "model.h"

enum { N_NOKENS = 16, LENGTH = 3, N_ORDINARY = 8, AT_ONCE = 4096 };

struct tracing {
  struct nk_probe *probe;
  struct nk_vectors set;
  size_t n_runs;
};

static void run_trace(void *argument) {
  struct tracing *t = argument;
  const struct nk_items items = {.vectors = &t->set};
  struct nk_trace *trace = nk_probe_trace(t->probe, &items, NULL);
  model_check(trace != NULL);
  t->n_runs = trace->n_runs;
  nk_trace_free(trace);
}

struct sequences {
  struct nk_forward *forward;
  struct nk_batch batch;
  size_t n;
};

static void run_sequences(void *argument) {
  struct sequences *s = argument;
  for (size_t at = 0; at < s->n; at += AT_ONCE) {
    struct nk_batch batch = s->batch;
    batch.n_sequences = batch.n_overrides = batch.n_asks =
        s->n - at < AT_ONCE ? s->n - at : AT_ONCE;
    model_check(nk_forward_run(s->forward, &batch) == NK_OK);
  }
}

int main(void) {
  static const int64_t ids[1 + LENGTH] = {599, NK_VECTOR, 290, 269};
  static struct nk_sequence sequences[AT_ONCE];
  static struct nk_override overrides[AT_ONCE];
  static struct nk_ask asks[AT_ONCE];
  int64_t ordinary[N_ORDINARY];
  bench_title("activation patching");
  struct nk_model *model = nk_model_open("data/gpt2-tiny");
  struct nk_forward *forward = nk_model_forward(model);
  model_check(forward != NULL);
  size_t dim = nk_forward_shape(forward)->dim;
  float *vectors = calloc(N_NOKENS, dim * sizeof *vectors);
  model_check(vectors != NULL);
  for (size_t i = 0; i < N_NOKENS * dim; i++) vectors[i] = (float)(i * 37 % 101) * 0.01f - 0.5f;
  for (size_t i = 0; i < N_ORDINARY; i++) ordinary[i] = (int64_t)(600 + 50 * i);
  const struct nk_probe_options options = {.reference_ids = ordinary,
                                           .n_reference_ids = N_ORDINARY};
  struct tracing tracing = {.probe = nk_probe_new(model, "The{} of the", &options),
                            .set = {.values = vectors, .n = N_NOKENS, .dim = dim}};
  model_check(tracing.probe != NULL);
  double trace = bench_min(5, run_trace, &tracing);
  for (size_t i = 0; i < AT_ONCE; i++) {
    sequences[i] = (struct nk_sequence){ids + 1, LENGTH};
    overrides[i] =
        (struct nk_override){.sequence = i, .position = 1, .vector = vectors + i % N_NOKENS * dim};
    asks[i] = (struct nk_ask){.sequence = i, .position = LENGTH, .distribution = true};
  }
  struct sequences plain = {
      forward,
      {.prefix = {ids, 1}, .sequences = sequences, .overrides = overrides, .asks = asks},
      tracing.n_runs};
  double seconds = bench_min(5, run_sequences, &plain);
  printf("%zu sequences: trace %.2f s, plain %.2f s\n", tracing.n_runs, trace, seconds);
  bench_ratio("trace_over_sequences", trace / seconds, 1.5);
  nk_probe_free(tracing.probe);
  nk_model_free(model);
  free(vectors);
  return bench_over;
}
