/* The options of the tools that run a model: which engine, and where. */
#ifndef CLI_ENGINE_H
#define CLI_ENGINE_H

#include <noken/forward.h>

#include "cli/options.h"

struct cli_engine {
  int engine; /* enum nk_engine */
  size_t gpu_layers;
  const char *rpc;
  int precision; /* enum nk_precision */
};

/* Rows of a tool's array of options, for the struct cli_engine at e. */
/* clang-format off */
#define CLI_ENGINE_OPTIONS(e)                                                 \
  {0, "engine", CLI_OPTION_CHOICE, &(e)->engine, "auto|native|llama",         \
   "what runs the model: noken, or llama.cpp (GGUF files)"},                  \
  {0, "gpu-layers", CLI_OPTION_SIZE, &(e)->gpu_layers, "N",                   \
   "llama: put N blocks on GPUs"},                                            \
  {0, "rpc", CLI_OPTION_STRING, &(e)->rpc, "HOST:PORT[,..]",                  \
   "llama: put blocks on these servers"}
/* The row of a tool whose answers are stated for both. */
#define CLI_PRECISION_OPTION(e)                                               \
  {0, "precision", CLI_OPTION_CHOICE, &(e)->precision, "f32|bf16",            \
   "of the products with the model's matrices"}
/* clang-format on */

/* Chooses the engine of the model. Returns NK_OK or a negative code; for a model of NULL the code
 * of the failed call that gave it. */
int cli_use_engine(struct nk_model *model, const struct cli_engine *engine);

#endif
