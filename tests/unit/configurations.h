/* Made by tests/fixtures/configurations.py from Hugging Face Transformers 5.24.0. */
/* clang-format off */
static const struct {
  const char *config, *type;
  double expected[N_EXPECTED];
} configurations[] = {
    {"{\"model_type\": \"gpt2\"}",
     "gpt2", {1024, 768, 3072, 12, 12, 12, 64, 0, 1e-05, 0, 0, 0}},
    {"{\"model_type\": \"gptj\"}",
     "gptj", {2048, 4096, 16384, 28, 16, 16, 256, 0, 1e-05, 0, 0, 0}},
    {"{\"model_type\": \"gpt_neox\"}",
     "gpt_neox", {2048, 6144, 24576, 44, 64, 64, 96, 0, 1e-05, 10000.0, 0.25, 0}},
    {"{\"model_type\": \"opt\"}",
     "opt", {2048, 768, 3072, 12, 12, 12, 64, 0, 0, 0, 0, 0}},
    {"{\"model_type\": \"llama\"}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"mistral\"}",
     "mistral", {131072, 4096, 14336, 32, 32, 8, 128, 4096, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"qwen2\"}",
     "qwen2", {32768, 4096, 22016, 32, 32, 32, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"qwen3\"}",
     "qwen3", {32768, 4096, 22016, 32, 32, 32, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"gemma\"}",
     "gemma", {8192, 3072, 24576, 28, 16, 16, 256, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"gemma2\"}",
     "gemma2", {8192, 2304, 9216, 26, 8, 4, 256, 4096, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"phi\"}",
     "phi", {2048, 2048, 8192, 24, 32, 32, 64, 0, 1e-05, 10000.0, 0.5, 0}},
    {"{\"model_type\": \"phi3\"}",
     "phi3", {4096, 3072, 8192, 32, 32, 32, 96, 0, 1e-05, 10000.0, 1.0, 0}},
    {"{\"model_type\": \"llava\", \"text_config\": {\"model_type\": \"llama\", \"max_po"
     "sition_embeddings\": 4096, \"rms_norm_eps\": 1e-05, \"vocab_size\": 32064}}",
     "llama", {4096, 4096, 11008, 32, 32, 32, 128, 0, 1e-05, 10000.0, 0, 0}},
    {"{\"model_type\": \"llava\"}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"llava_next\", \"text_config\": {\"model_type\": \"mistral\", "
     "\"num_hidden_layers\": 2}}",
     "mistral", {131072, 4096, 14336, 2, 32, 8, 128, 4096, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"mistral3\", \"text_config\": {\"hidden_size\": 5120, \"head_"
     "dim\": 128}}",
     "mistral", {131072, 5120, 14336, 32, 32, 8, 128, 4096, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"internvl\", \"text_config\": {\"num_attention_heads\": 28, "
     "\"hidden_size\": 3584}}",
     "qwen2", {32768, 3584, 22016, 32, 28, 32, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"paligemma\", \"text_config\": {\"hidden_size\": 2048}}",
     "gemma", {8192, 2048, 24576, 28, 16, 16, 256, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"blip-2\", \"text_config\": {\"model_type\": \"opt\", \"num_hid"
     "den_layers\": 32}}",
     "opt", {2048, 768, 3072, 32, 12, 12, 64, 0, 0, 0, 0, 0}},
    {"{\"model_type\": \"mistral\", \"sliding_window\": null}",
     "mistral", {131072, 4096, 14336, 32, 32, 8, 128, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"qwen2\", \"num_attention_heads\": 16, \"num_key_value_head"
     "s\": null}",
     "qwen2", {32768, 4096, 22016, 32, 16, 16, 256, 0, 1e-06, 10000.0, 0, 0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_theta\": 500000.0, \"rope_type\": \"default\"}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 500000.0, 0, 0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_type\": \"linear\", \"factor\": 2.0}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 20000.0, 0, 2.0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_theta\": 500000.0, \"rope_type\": \"default\"}, \"rope_scaling\": {\"rope_t"
     "ype\": \"linear\", \"factor\": 2.0}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 20000.0, 0, 2.0}},
    {"{\"model_type\": \"llama\", \"rope_parameters\": {\"rope_theta\": 500000.0, \"r"
     "ope_type\": \"default\"}, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor"
     "\": 2.0}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 10000.0, 0, 2.0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_theta\": 500000.0, \"rope_type\": \"default\"}, \"rope_scaling\": null}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 500000.0, 0, 0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_theta\": 500000.0, \"rope_type\": \"default\"}, \"rope_scaling\": {}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 500000.0, 0, 0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_parameters\": {\"ro"
     "pe_theta\": 500000.0, \"rope_type\": \"default\"}, \"rope_scaling\": {\"type\":"
     " \"linear\", \"factor\": 4.0}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 20000.0, 0, 4.0}},
    {"{\"model_type\": \"llama\", \"rope_theta\": 20000.0, \"rope_scaling\": {\"rope_"
     "type\": \"linear\", \"factor\": 2.0, \"rope_theta\": 30000.0}}",
     "llama", {2048, 4096, 11008, 32, 32, 32, 128, 0, 1e-06, 30000.0, 0, 2.0}},
    {"{\"model_type\": \"qwen2\", \"rope_theta\": 1000000.0, \"rope_parameters\": {\""
     "rope_type\": \"default\"}}",
     "qwen2", {32768, 4096, 22016, 32, 32, 32, 128, 0, 1e-06, 1000000.0, 0, 0}},
    {"{\"model_type\": \"phi\", \"partial_rotary_factor\": 0.4, \"rope_parameters\":"
     " {\"rope_theta\": 500000.0, \"rope_type\": \"default\", \"partial_rotary_fact"
     "or\": 0.25}}",
     "phi", {2048, 2048, 8192, 24, 32, 32, 64, 0, 1e-05, 500000.0, 0.25, 0}},
    {"{\"model_type\": \"phi\", \"partial_rotary_factor\": 0.4, \"rope_theta\": 2000"
     "0.0}",
     "phi", {2048, 2048, 8192, 24, 32, 32, 64, 0, 1e-05, 20000.0, 0.4, 0}},
    {"{\"model_type\": \"gpt_neox\", \"rotary_pct\": 0.5, \"rotary_emb_base\": 20000"
     "}",
     "gpt_neox", {2048, 6144, 24576, 44, 64, 64, 96, 0, 1e-05, 20000, 0.5, 0}},
    {"{\"model_type\": \"gpt_neox\", \"rotary_pct\": 0.5, \"rotary_emb_base\": 20000"
     ", \"rope_parameters\": {\"rope_theta\": 500000.0, \"rope_type\": \"default\", "
     "\"partial_rotary_factor\": 0.75}}",
     "gpt_neox", {2048, 6144, 24576, 44, 64, 64, 96, 0, 1e-05, 500000.0, 0.75, 0}},
    {"{\"model_type\": \"mistral3\", \"text_config\": {\"model_type\": \"mistral\", \"r"
     "ope_theta\": 20000.0, \"rope_parameters\": {\"rope_theta\": 500000.0, \"rope"
     "_type\": \"default\"}}}",
     "mistral", {131072, 4096, 14336, 32, 32, 8, 128, 4096, 1e-06, 500000.0, 0, 0}},
};
/* clang-format on */
