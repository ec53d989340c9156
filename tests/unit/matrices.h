/* Made by tests/fixtures/matrices.py from Hugging Face Transformers 5.24.0. */
/* clang-format off */
static const struct {
  const char *configs; /* one a line */
  const char *tensors, *input, *output;
} classes[] = {
    {"{\"model_type\":\"afmoe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"aria_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"axk1\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"axk2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"beam\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"deepseek_v2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"deepseek_v3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"deepseek_v32\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"dots3_note_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"exaone_moe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"flex_olmo\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"flint\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"glm4_moe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"glm4_moe_lite\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"glm_moe_dsa\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"granitemoe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"granitemoehybrid\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"granitemoeshared\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"hy_v3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"kimi_linear\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"kolibri1\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"laguna\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"longcat_flash\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"mellum\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"mimo_v2_flash\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"minimax\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"minimax_m2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"mixtral\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"olmo_hybrid\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"olmoe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen2_moe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen3_5_moe_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen3_moe\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen3_next\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"sarvam_mla\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"solar_open\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 model.norm.weight=4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"apertus\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"apertus1p5_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"arcee\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"bitnet\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"cwm\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"diffllama\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"doge\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"exaone4\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"glm\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"glm4\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"gpt_oss\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"granite\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"granitemoe_swa\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"helium\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"hyperclovax\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"internlm3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"iquestcoder\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"llama\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"llama4_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"minimax_m3_vl_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"ministral3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"mistral\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"olmo2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"olmo3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"phi3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen3\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"qwen3_5_text\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"seed_oss\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"bailing_hybrid\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"sarvam_moe\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.word_embeddings.weight=40x4 model.norm.weight=4",
     "model.word_embeddings.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"bamba\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"falcon_h1\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.final_layernorm.weight=4 "
     "lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"biogpt\",\"tie_word_embeddings\":true}\n",
     "biogpt.embed_tokens.weight=40x4 biogpt.embed_positions.weight=7x4 "
     "biogpt.layer_norm.weight=4 biogpt.layer_norm.bias=4",
     "biogpt.embed_tokens.weight",
     "biogpt.embed_tokens.weight"},
    {"{\"model_type\":\"bloom\",\"tie_word_embeddings\":true}\n",
     "transformer.word_embeddings.weight=40x4 "
     "transformer.word_embeddings_layernorm.weight=4 "
     "transformer.word_embeddings_layernorm.bias=4 transformer.ln_f.weight=4 "
     "transformer.ln_f.bias=4",
     "transformer.word_embeddings.weight",
     "transformer.word_embeddings.weight"},
    {"{\"model_type\":\"codegen\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"gptj\",\"tie_word_embeddings\":false}\n",
     "transformer.wte.weight=40x4 transformer.ln_f.weight=4 "
     "transformer.ln_f.bias=4 lm_head.weight=40x4 lm_head.bias=40",
     "transformer.wte.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"cohere\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"cohere2\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"cohere2_moe\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"ernie4_5\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"ernie4_5_moe\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"gemma\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"gemma2\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"gemma3_text\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"gemma4_unified_text\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"granite_swa\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"jetmoe\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"lara_mini\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"minicpm3\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"smollm3\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"vaultgemma\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"youtu\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"ctrl\",\"tie_word_embeddings\":true}\n",
     "transformer.w.weight=40x4 transformer.layernorm.weight=4 "
     "transformer.layernorm.bias=4 lm_head.bias=40",
     "transformer.w.weight",
     "transformer.w.weight"},
    {"{\"model_type\":\"deepseek_v4\",\"tie_word_embeddings\":false}\n",
     "head.weight=40x4 model.embed_tokens.weight=40x4 model.hc_head.hc_base=7 "
     "model.hc_head.hc_fn=7x8 model.hc_head.hc_scale=9 model.norm.weight=4",
     "model.embed_tokens.weight",
     "head.weight"},
    {"{\"model_type\":\"dory\",\"tie_word_embeddings\":false}\n",
     "lm_head.logit_scale=40 lm_head.weight=40x4 backbone.embeddings.weight=40x4",
     "backbone.embeddings.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"exaone\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 transformer.wte.weight=40x4 transformer.ln_f.weight=4",
     "transformer.wte.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"falcon\",\"tie_word_embeddings\":true}\n",
     "transformer.word_embeddings.weight=40x4 transformer.ln_f.weight=4 "
     "transformer.ln_f.bias=4",
     "transformer.word_embeddings.weight",
     "transformer.word_embeddings.weight"},
    {"{\"model_type\":\"falcon_mamba\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"mamba\",\"tie_word_embeddings\":true}\n",
     "backbone.embeddings.weight=40x4 backbone.norm_f.weight=4",
     "backbone.embeddings.weight",
     "backbone.embeddings.weight"},
    {"{\"model_type\":\"fuyu\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"persimmon\",\"tie_word_embeddings\":false}}\n",
     "language_model.lm_head.weight=40x4 "
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.final_layernorm.bias=4 "
     "language_model.model.final_layernorm.weight=4 vision_embed_tokens.bias=4 "
     "vision_embed_tokens.weight=4x7",
     "language_model.model.embed_tokens.weight",
     "language_model.lm_head.weight"},
    {"{\"model_type\":\"gemma3n_text\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 "
     "model.embed_tokens_per_layer.weight=7x8 "
     "model.per_layer_model_projection.weight=8x4 "
     "model.per_layer_projection_norm.weight=9",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"gemma4_text\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 "
     "model.embed_tokens_per_layer.weight=40x7 "
     "model.per_layer_model_projection.weight=7x4 "
     "model.per_layer_projection_norm.weight=8",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"gemma4_unified\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"gemma4_unified_text\","
     "\"tie_word_embeddings\":true}}\n",
     "model.language_model.embed_tokens.weight=40x4 "
     "model.language_model.norm.weight=4",
     "model.language_model.embed_tokens.weight",
     "model.language_model.embed_tokens.weight"},
    {"{\"model_type\":\"gpt2\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"gpt_bigcode\",\"tie_word_embeddings\":true}\n",
     "transformer.wte.weight=40x4 transformer.wpe.weight=7x4 "
     "transformer.ln_f.weight=4 transformer.ln_f.bias=4",
     "transformer.wte.weight",
     "transformer.wte.weight"},
    {"{\"model_type\":\"gpt_neo\",\"tie_word_embeddings\":true}\n",
     "transformer.wte.weight=40x4 transformer.wpe.weight=4x4 "
     "transformer.ln_f.weight=4 transformer.ln_f.bias=4",
     "transformer.wte.weight",
     "transformer.wte.weight"},
    {"{\"model_type\":\"gpt_neox\",\"tie_word_embeddings\":false}\n",
     "gpt_neox.embed_in.weight=40x4 gpt_neox.final_layer_norm.bias=4 "
     "gpt_neox.final_layer_norm.weight=4 embed_out.weight=40x4",
     "gpt_neox.embed_in.weight",
     "embed_out.weight"},
    {"{\"model_type\":\"gpt_neox_japanese\",\"tie_word_embeddings\":true}\n",
     "gpt_neox_japanese.embed_in.weight=40x4 "
     "gpt_neox_japanese.final_layer_norm.weight=4 "
     "gpt_neox_japanese.final_layer_norm.bias=4",
     "gpt_neox_japanese.embed_in.weight",
     "gpt_neox_japanese.embed_in.weight"},
    {"{\"model_type\":\"hrm_text\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 model.z_L_init=4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"hy_v4\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 "
     "model.hc_pre.hc_head.hc_head_base=7 model.hc_pre.hc_head.hc_head_fn=7x8 "
     "model.hc_pre.hc_head.hc_head_scale=9 model.norm.weight=4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"inkling_text\"}\n",
     "model.embed_tokens.weight=40x4 model.embed_tokens.embed_norm.weight=4 "
     "model.norm.weight=4 lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"jais2\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"stablelm\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 model.norm.bias=4 "
     "lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"jamba\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 "
     "model.final_layernorm.weight=4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"lfm2\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"lfm3\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.embedding_norm.weight=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"mamba2\",\"tie_word_embeddings\":false}\n",
     "backbone.embeddings.weight=40x4 backbone.norm_f.weight=4 lm_head.weight=40x4",
     "backbone.embeddings.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"mllama\",\"text_config\":{\"model_type\":\"mllama_text_model\","
     "\"tie_word_embeddings\":false}}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 lm_head.weight=7x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"mpt\",\"tie_word_embeddings\":true}\n",
     "transformer.wte.weight=40x4 transformer.norm_f.weight=4",
     "transformer.wte.weight",
     "transformer.wte.weight"},
    {"{\"model_type\":\"nanochat\",\"tie_word_embeddings\":false}\n"
     "{\"model_type\":\"olmo\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"nemotron_h\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 backbone.embeddings.weight=40x4 backbone.norm_f.weight=4",
     "backbone.embeddings.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"openai-gpt\",\"tie_word_embeddings\":true}\n",
     "transformer.tokens_embed.weight=40x4 transformer.positions_embed.weight=7x4",
     "transformer.tokens_embed.weight",
     "transformer.tokens_embed.weight"},
    {"{\"model_type\":\"opt\",\"tie_word_embeddings\":true}\n",
     "model.decoder.embed_tokens.weight=40x4 "
     "model.decoder.embed_positions.weight=7x4 "
     "model.decoder.final_layer_norm.weight=4 "
     "model.decoder.final_layer_norm.bias=4",
     "model.decoder.embed_tokens.weight",
     "model.decoder.embed_tokens.weight"},
    {"{\"model_type\":\"persimmon\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.final_layernorm.weight=4 "
     "model.final_layernorm.bias=4 lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"phi\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.final_layernorm.weight=4 "
     "model.final_layernorm.bias=4 lm_head.weight=40x4 lm_head.bias=40",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"phi4_multimodal\",\"tie_word_embeddings\":false}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 "
     "model.embed_tokens_extend.image_embed.img_processor.embeddings.patch_embedding.bias="
     "8 "
     "model.embed_tokens_extend.image_embed.img_processor.embeddings.position_embedding.we"
     "ight=11x8 "
     "model.embed_tokens_extend.image_embed.img_processor.post_layernorm.weight=8 "
     "model.embed_tokens_extend.image_embed.img_processor.post_layernorm.bias=8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.attention.in_proj_weight=12"
     "x8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.attention.in_proj_bias=12 m"
     "odel.embed_tokens_extend.image_embed.img_processor.head.attention.out_proj.weight=8x"
     "8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.attention.out_proj.bias=8 m"
     "odel.embed_tokens_extend.image_embed.img_processor.head.layernorm.weight=8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.layernorm.bias=8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.mlp.fc1.weight=13x8 "
     "model.embed_tokens_extend.image_embed.img_processor.head.mlp.fc1.bias=13 "
     "model.embed_tokens_extend.image_embed.img_processor.head.mlp.fc2.weight=8x13 "
     "model.embed_tokens_extend.image_embed.img_processor.head.mlp.fc2.bias=8 "
     "model.embed_tokens_extend.image_embed.img_projection_up.weight=4x8 "
     "model.embed_tokens_extend.image_embed.img_projection_up.bias=4 "
     "model.embed_tokens_extend.image_embed.img_projection_down.weight=4x4 "
     "model.embed_tokens_extend.image_embed.img_projection_down.bias=4 "
     "model.embed_tokens_extend.audio_embed.encoder.embed.out.weight=11x14 "
     "model.embed_tokens_extend.audio_embed.encoder.embed.out.bias=11 "
     "model.embed_tokens_extend.audio_embed.encoder.relative_attention_bias_layer.bias_val"
     "ues.weight=15x16 "
     "model.embed_tokens_extend.audio_embed.up_proj_for_speech.weight=4x11 "
     "model.embed_tokens_extend.audio_embed.up_proj_for_speech.bias=4 "
     "model.embed_tokens_extend.audio_embed.down_proj_for_speech.weight=4x4 "
     "model.embed_tokens_extend.audio_embed.down_proj_for_speech.bias=4 "
     "model.embed_tokens_extend.audio_embed.up_proj_for_vision_speech.weight=4x11 "
     "model.embed_tokens_extend.audio_embed.up_proj_for_vision_speech.bias=4 "
     "model.embed_tokens_extend.audio_embed.down_proj_for_vision_speech.weight=4x4 "
     "model.embed_tokens_extend.audio_embed.down_proj_for_vision_speech.bias=4 "
     "lm_head.weight=40x4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"phimoe\",\"tie_word_embeddings\":false}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 model.norm.bias=4 "
     "model.norm.weight=4",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"recurrent_gemma\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.final_norm.weight=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"rwkv\",\"tie_word_embeddings\":false}\n",
     "rwkv.embeddings.weight=40x4 rwkv.ln_out.weight=4 rwkv.ln_out.bias=4 "
     "head.weight=40x4",
     "rwkv.embeddings.weight",
     "head.weight"},
    {"{\"model_type\":\"starcoder2\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.norm.weight=4 model.norm.bias=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"xglm\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.layer_norm.weight=4 "
     "model.layer_norm.bias=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"xlstm\",\"tie_word_embeddings\":false}\n",
     "backbone.embeddings.weight=40x4 backbone.out_norm.weight=4 "
     "lm_head.weight=40x4",
     "backbone.embeddings.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"zamba\",\"tie_word_embeddings\":true}\n"
     "{\"model_type\":\"zamba2\",\"tie_word_embeddings\":true}\n",
     "model.embed_tokens.weight=40x4 model.final_layernorm.weight=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"zaya\",\"tie_word_embeddings\":true}\n",
     "model.input_hidden_states_scale=4 model.input_hidden_states_bias=4 "
     "model.embed_tokens.weight=40x4 model.norm.weight=4",
     "model.embed_tokens.weight",
     "model.embed_tokens.weight"},
    {"{\"model_type\":\"blip-2\",\"text_config\":{\"model_type\":\"opt\","
     "\"tie_word_embeddings\":true}}\n",
     "vision_model.embeddings.patch_embedding.bias=9 "
     "vision_model.post_layernorm.weight=9 vision_model.post_layernorm.bias=9 "
     "qformer.layernorm.weight=4 qformer.layernorm.bias=4 "
     "language_projection.weight=4x4 language_projection.bias=4 "
     "language_model.model.decoder.embed_tokens.weight=40x4 "
     "language_model.model.decoder.embed_positions.weight=13x4 "
     "language_model.model.decoder.final_layer_norm.weight=4 "
     "language_model.model.decoder.final_layer_norm.bias=4",
     "language_model.model.decoder.embed_tokens.weight",
     "language_model.model.decoder.embed_tokens.weight"},
    {"{\"model_type\":\"gemma3\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"gemma3_text\",\"tie_word_embeddings\":true}}\n",
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 "
     "multi_modal_projector.mm_input_projection_weight=7x4 "
     "multi_modal_projector.mm_soft_emb_norm.weight=7 "
     "vision_tower.embeddings.patch_embedding.bias=7 "
     "vision_tower.embeddings.position_embedding.weight=10x7 "
     "vision_tower.head.attention.in_proj_bias=4 "
     "vision_tower.head.attention.in_proj_weight=4x7 "
     "vision_tower.head.attention.out_proj.bias=7 "
     "vision_tower.head.attention.out_proj.weight=7x7 "
     "vision_tower.head.layernorm.bias=7 vision_tower.head.layernorm.weight=7 "
     "vision_tower.head.mlp.fc1.bias=11 vision_tower.head.mlp.fc1.weight=11x7 "
     "vision_tower.head.mlp.fc2.bias=7 vision_tower.head.mlp.fc2.weight=7x11 "
     "vision_tower.post_layernorm.bias=7 vision_tower.post_layernorm.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.model.embed_tokens.weight"},
    {"{\"model_type\":\"gemma4\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"gemma4_text\",\"tie_word_embeddings\":true}}\n",
     "model.language_model.embed_tokens.weight=40x4 "
     "model.language_model.norm.weight=4 "
     "model.language_model.embed_tokens_per_layer.weight=40x7 "
     "model.language_model.per_layer_model_projection.weight=7x4 "
     "model.language_model.per_layer_projection_norm.weight=8",
     "model.language_model.embed_tokens.weight",
     "model.language_model.embed_tokens.weight"},
    {"{\"model_type\":\"glm4v\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"glm4v_text\"}}\n",
     "model.visual.embeddings.position_embedding.weight=7x8 "
     "model.visual.patch_embed.proj.bias=8 model.visual.merger.proj.weight=4x4 "
     "model.visual.merger.post_projection_norm.weight=4 "
     "model.visual.merger.post_projection_norm.bias=4 "
     "model.visual.merger.gate_proj.weight=12x4 "
     "model.visual.merger.up_proj.weight=12x4 "
     "model.visual.merger.down_proj.weight=4x12 "
     "model.visual.post_conv_layernorm.weight=8 model.visual.downsample.bias=4 "
     "model.visual.post_layernorm.weight=8 "
     "model.language_model.embed_tokens.weight=40x4 "
     "model.language_model.norm.weight=4 lm_head.weight=40x4",
     "model.language_model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"idefics3\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"llama\",\"tie_word_embeddings\":false}}\n"
     "{\"model_type\":\"smolvlm\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"llama\",\"tie_word_embeddings\":false}}\n",
     "model.vision_model.embeddings.patch_embedding.bias=7 "
     "model.vision_model.embeddings.position_embedding.weight=10x7 "
     "model.vision_model.post_layernorm.weight=7 "
     "model.vision_model.post_layernorm.bias=7 "
     "model.connector.modality_projection.proj.weight=4x11 "
     "model.text_model.embed_tokens.weight=40x4 model.text_model.norm.weight=4 "
     "lm_head.weight=40x4",
     "model.text_model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"internvl\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"qwen2\",\"tie_word_embeddings\":false}}\n",
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.layer_norm.bias=4 "
     "multi_modal_projector.layer_norm.weight=4 "
     "multi_modal_projector.linear_1.bias=4 "
     "multi_modal_projector.linear_1.weight=4x4 "
     "multi_modal_projector.linear_2.bias=4 "
     "multi_modal_projector.linear_2.weight=4x4 "
     "vision_tower.embeddings.patch_embeddings.projection.bias=8",
     "language_model.model.embed_tokens.weight",
     "language_model.model.embed_tokens.weight"},
    {"{\"model_type\":\"llama4\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"llama4_text\",\"tie_word_embeddings\":false}}\n",
     "vision_model.class_embedding=7 vision_model.positional_embedding_vlm=8x7 "
     "vision_model.patch_embedding.linear.weight=7x9 "
     "vision_model.layernorm_pre.weight=7 vision_model.layernorm_pre.bias=7 "
     "vision_model.layernorm_post.weight=7 vision_model.layernorm_post.bias=7 "
     "vision_model.vision_adapter.mlp.fc1.weight=10x11 "
     "vision_model.vision_adapter.mlp.fc2.weight=10x10 "
     "multi_modal_projector.linear_1.weight=4x12 "
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 language_model.lm_head.weight=40x4",
     "language_model.model.embed_tokens.weight",
     "language_model.lm_head.weight"},
    {"{\"model_type\":\"llava\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"llama\",\"tie_word_embeddings\":false}}\n",
     "language_model.lm_head.weight=40x4 "
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.linear_1.bias=4 "
     "multi_modal_projector.linear_1.weight=4x7 "
     "multi_modal_projector.linear_2.bias=4 "
     "multi_modal_projector.linear_2.weight=4x4 "
     "vision_tower.embeddings.class_embedding=7 "
     "vision_tower.embeddings.position_embedding.weight=10x7 "
     "vision_tower.post_layernorm.bias=7 vision_tower.post_layernorm.weight=7 "
     "vision_tower.pre_layrnorm.bias=7 vision_tower.pre_layrnorm.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.lm_head.weight"},
    {"{\"model_type\":\"llava_next\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"llama\",\"tie_word_embeddings\":false}}\n",
     "language_model.lm_head.weight=40x4 image_newline=4 "
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.linear_1.bias=4 "
     "multi_modal_projector.linear_1.weight=4x7 "
     "multi_modal_projector.linear_2.bias=4 "
     "multi_modal_projector.linear_2.weight=4x4 "
     "vision_tower.embeddings.class_embedding=7 "
     "vision_tower.embeddings.position_embedding.weight=10x7 "
     "vision_tower.post_layernorm.bias=7 vision_tower.post_layernorm.weight=7 "
     "vision_tower.pre_layrnorm.bias=7 vision_tower.pre_layrnorm.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.lm_head.weight"},
    {"{\"model_type\":\"llava_onevision\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"qwen2\",\"tie_word_embeddings\":false}}\n",
     "language_model.lm_head.weight=40x4 image_newline=4 "
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.linear_1.bias=4 "
     "multi_modal_projector.linear_1.weight=4x7 "
     "multi_modal_projector.linear_2.bias=4 "
     "multi_modal_projector.linear_2.weight=4x4 "
     "vision_tower.embeddings.patch_embedding.bias=7 "
     "vision_tower.embeddings.position_embedding.weight=10x7 "
     "vision_tower.post_layernorm.bias=7 vision_tower.post_layernorm.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.lm_head.weight"},
    {"{\"model_type\":\"mistral3\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"mistral\",\"tie_word_embeddings\":false}}\n",
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.linear_1.weight=4x7 "
     "multi_modal_projector.linear_2.weight=4x4 "
     "multi_modal_projector.norm.weight=7 "
     "multi_modal_projector.patch_merger.merging_layer.weight=7x8 "
     "vision_tower.ln_pre.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.model.embed_tokens.weight"},
    {"{\"model_type\":\"paligemma\",\"tie_word_embeddings\":true,"
     "\"text_config\":{\"model_type\":\"gemma\",\"tie_word_embeddings\":true}}\n",
     "language_model.model.embed_tokens.weight=40x4 "
     "language_model.model.norm.weight=4 multi_modal_projector.linear.bias=4 "
     "multi_modal_projector.linear.weight=4x7 "
     "vision_tower.embeddings.patch_embedding.bias=7 "
     "vision_tower.embeddings.position_embedding.weight=10x7 "
     "vision_tower.post_layernorm.bias=7 vision_tower.post_layernorm.weight=7",
     "language_model.model.embed_tokens.weight",
     "language_model.model.embed_tokens.weight"},
    {"{\"model_type\":\"qwen2_vl\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"qwen2_vl_text\"}}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 model.norm.weight=4 "
     "visual.merger.ln_q.bias=7 visual.merger.ln_q.weight=7",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"qwen2_5_vl\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"qwen2_5_vl_text\"}}\n",
     "lm_head.weight=40x4 model.embed_tokens.weight=40x4 model.norm.weight=4 "
     "visual.merger.ln_q.weight=7",
     "model.embed_tokens.weight",
     "lm_head.weight"},
    {"{\"model_type\":\"qwen3_vl\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"qwen3_vl_text\"}}\n"
     "{\"model_type\":\"qwen3_5\",\"tie_word_embeddings\":false,"
     "\"text_config\":{\"model_type\":\"qwen3_5_text\",\"tie_word_embeddings\":false}}\n",
     "model.visual.patch_embed.proj.bias=7 model.visual.pos_embed.weight=11x7 "
     "model.visual.merger.norm.weight=7 model.visual.merger.norm.bias=7 "
     "model.visual.merger.linear_fc1.weight=12x12 "
     "model.visual.merger.linear_fc1.bias=12 "
     "model.visual.merger.linear_fc2.weight=13x12 "
     "model.visual.merger.linear_fc2.bias=13 "
     "model.language_model.embed_tokens.weight=40x4 "
     "model.language_model.norm.weight=4 lm_head.weight=40x4",
     "model.language_model.embed_tokens.weight",
     "lm_head.weight"},
};
/* clang-format on */
