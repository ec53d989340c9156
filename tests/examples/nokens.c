/* Ten nokens far from the tokens that a model knows, and what they do to a prompt. */
#include <noken/noken.h>
#include <stdio.h>

int main(int argc, char **argv) {
  struct nk_sample_options far = {.n = 10, .times = (const double[]){2}, .n_times = 1};
  struct nk_model *model = nk_model_open(argc > 1 ? argv[1] : "data/gpt2-tiny");
  struct nk_vectors *tokens = nk_model_vectors(model, NK_MATRIX_INPUT);
  struct nk_region *region = nk_region_fit(tokens, NULL, 0, NULL);
  struct nk_vectors *nokens = nk_sample(region, &far);
  struct nk_probe *probe = nk_probe_new(model, "Please repeat the string \"{}\": \"", NULL);
  struct nk_behaviour *b = nk_probe_run(probe, &(struct nk_items){.vectors = nokens});
  int failed = b == NULL ? fprintf(stderr, "%s\n", nk_error()) : 0;
  for (size_t i = 0; failed == 0 && i < b->n_items; i++)
    printf("%zu\t%.9g\t%.9g\t%.9g\n", i, b->entropy[i], b->kl[i], b->p_value[i]);
  nk_behaviour_free(b);
  nk_probe_free(probe);
  nk_vectors_free(nokens);
  nk_region_free(region);
  nk_vectors_free(tokens);
  nk_model_free(model);
  return failed != 0;
}
