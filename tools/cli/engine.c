/* The options of the tools that run a model. */
#include "cli/engine.h"

int cli_use_engine(struct nk_model *model, const struct cli_engine *engine) {
  const struct nk_engine_options options = {.engine = (enum nk_engine)engine->engine,
                                            .n_gpu_layers = engine->gpu_layers,
                                            .rpc = engine->rpc,
                                            .precision = (enum nk_precision)engine->precision};
  if (engine->engine == NK_ENGINE_NATIVE && (engine->gpu_layers > 0 || engine->rpc != NULL))
    return nk_fail(NK_EUSAGE, "--gpu-layers and --rpc need --engine llama");
  if (engine->precision == NK_PRECISION_BF16 &&
      (engine->engine == NK_ENGINE_LLAMA || engine->gpu_layers > 0 || engine->rpc != NULL))
    return nk_fail(NK_EUSAGE, "--precision bf16 needs --engine native");
  return nk_model_use_engine(model, &options);
}
