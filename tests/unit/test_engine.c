/* The choice of an engine: what is refused, and by which reason. What llama.cpp computes is tested
 * by cli/engines.bats, where it can be had. */
#include "unit.h"

static const char MODEL[] = "data/llama-tiny";

static void refuse(const struct nk_engine_options *options, int code, const char *reason) {
  struct nk_model *model = nk_model_open(MODEL);
  assert_non_null(model);
  int chosen = nk_model_use_engine(model, options);
  if (chosen == NK_OK) {
    assert_null(nk_model_forward(model));
    chosen = nk_error_code();
  }
  assert_int_equal(chosen, code);
  if (strstr(nk_error(), reason) == NULL) fail_msg("%s", nk_error());
  nk_model_free(model);
}

static void gpus_and_servers_need_llama(void **state) {
  (void)state;
  refuse(&(struct nk_engine_options){.engine = NK_ENGINE_NATIVE, .n_gpu_layers = 1}, NK_EUSAGE,
         "need the llama engine");
  refuse(&(struct nk_engine_options){.engine = NK_ENGINE_NATIVE, .rpc = "localhost:1"}, NK_EUSAGE,
         "need the llama engine");
  refuse(&(struct nk_engine_options){.n_gpu_layers = 1}, NK_EUNSUPPORTED, "GGUF");
}

static void llama_needs_a_gguf_file(void **state) {
  (void)state;
  refuse(&(struct nk_engine_options){.engine = NK_ENGINE_LLAMA}, NK_EUNSUPPORTED,
         "llama-tiny: llama.cpp runs GGUF files; nk-convert writes the model as one");
}

static void the_choice_comes_before_the_forward_pass(void **state) {
  (void)state;
  const struct nk_engine_options native = {.engine = NK_ENGINE_NATIVE}, automatic = {0};
  struct nk_model *model = nk_model_open(MODEL);
  assert_int_equal(nk_model_use_engine(model, &(struct nk_engine_options){.rpc = "a:1"}), NK_OK);
  assert_int_equal(nk_model_use_engine(model, &automatic), NK_OK); /* the last choice holds */
  assert_int_equal(nk_model_use_engine(model, &native), NK_OK);
  assert_non_null(nk_model_forward(model));
  assert_int_equal(nk_model_use_engine(model, &automatic), NK_EUSAGE);
  nk_model_free(model);
}

static void a_missing_model_keeps_its_error(void **state) {
  (void)state;
  const struct nk_engine_options options = {0};
  struct nk_model *model = nk_model_open("/nowhere");
  assert_null(model);
  assert_int_equal(nk_model_use_engine(model, &options), nk_error_code());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpus_and_servers_need_llama),
      cmocka_unit_test(llama_needs_a_gguf_file),
      cmocka_unit_test(the_choice_comes_before_the_forward_pass),
      cmocka_unit_test(a_missing_model_keeps_its_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
