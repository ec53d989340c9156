/* run_set MODEL SET PROMPT: what each vector of a set, such as nk-sample makes, does to a prompt
 * with a slot {}. Prints its id, its distance where the set has one, and its behaviour. */
#include <noken/noken.h>
#include <stdio.h>

static void print_rows(const struct nk_vectors *set, const struct nk_behaviour *b) {
  const struct nk_column *distance = nk_vectors_column(set, "distance");
  for (size_t i = 0; i < b->n_items; i++) {
    printf("%lld", (long long)set->ids[i]);
    if (distance != NULL && distance->dtype == NK_F64) printf("\t%.9g", distance->data.number[i]);
    printf("\t%.9g\t%.9g\t%.9g\n", b->entropy[i], b->kl[i], b->p_value[i]);
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: run_set MODEL SET PROMPT\n");
    return 2;
  }
  struct nk_model *model = nk_model_open(argv[1]);
  struct nk_probe *probe = nk_probe_new(model, argv[3], NULL);
  struct nk_vectors *set = probe == NULL ? NULL : nk_vectors_read(argv[2]);
  struct nk_behaviour *b = nk_probe_run(probe, &(struct nk_items){.vectors = set});
  if (b == NULL)
    fprintf(stderr, "run_set: %s\n", nk_error());
  else
    print_rows(set, b);
  int status = b == NULL ? 1 : 0;
  nk_behaviour_free(b);
  nk_vectors_free(set);
  nk_probe_free(probe);
  nk_model_free(model);
  return status;
}
