# Prompts in chat formats: --chat of nk-verify and nk-run, and tables with special tokens. The model
# is a shipped one under a small tokenizer that has the special tokens of all formats.
bats_require_minimum_version 1.5.0

setup() {
  data=$PWD/data
  prompts=$data/prompts
  cd "$BATS_TEST_TMPDIR"
  mkdir model
  ln -s "$data"/gpt2-tiny/{config.json,model.safetensors} model
  ln -s "$BATS_TEST_DIRNAME/../fixtures/chat/tokenizer.json" model
  printf 'id\n371\n377\n' >ids.tsv # " the", " user"
}

verify() {
  nk-verify "$@" model ids.tsv
}

@test "--chat writes a text as the tables of the format do" {
  printf 'prompt\ttext\nq\tWhat does "{}" mean?\n' >plain.tsv
  for format in llama3 chatml gemma mistral mistral-tekken phi; do
    awk -F '\t' 'NR == 1 || $1 == "meaning"' "$prompts/chat-$format.tsv" >chat.tsv
    verify --prompts chat.tsv >table
    verify --prompts plain.tsv --chat $format | cmp - table
    verify -p 'What does "{}" mean?' --chat $format | cmp - table
    verify --prompts plain.tsv >bare
    run ! cmp -s bare table
  done
  verify --prompts plain.tsv --chat none | cmp - bare
}

@test "--chat puts the default prompts of nk-verify into the format" {
  printf 'prompt\trepetition\ttext\n' >default.tsv
  sed -n '2,3p;5p' "$prompts/repeat.tsv" >>default.tsv # the three of nk-verify
  verify >bare
  verify --prompts default.tsv | cmp - bare
  verify --chat gemma >chat
  verify --chat gemma --prompts default.tsv | cmp - chat
  run ! cmp -s bare chat
}

@test "nk-run writes prompts as chats, also paired ones" {
  run -0 nk-run --chat chatml -p 'What is {}?' --ids 371 --reference 8 model
  printf 'prompt\ttext\n1\t%s\n' \
    '<|im_start|>user\nWhat is {}?<|im_end|>\n<|im_start|>assistant\n' >p.tsv
  nk-run --prompts p.tsv --ids 371 --reference 8 model >table
  [ "$output" = "$(cat table)" ]
  nk-extract "$data/gpt2-tiny" | nk-region fit -o region
  nk-extract --ids 371 "$data/gpt2-tiny" -o row
  nk-sample region --from-set row -n 2 -d isotropic -m radius \
    --distance 0.1 --with-origin -o rays
  nk-run --paired --prompts p.tsv model rays >table
  nk-run --paired --chat chatml -p 'What is {}?' model rays | cmp - table
  run -2 nk-run --chat chatml --contexts "$prompts/contexts.txt" --capture 1 model
  [ "$output" = "nk-run: --chat has no use with --contexts without --paired" ]
}

@test "auto takes the format of the model's template, and says so" {
  echo '{% for m in messages %}<start_of_turn>{{ m.role }} {{ m.text }}<end_of_turn>{% endfor %}' \
    >model/chat_template.jinja
  run -0 --separate-stderr verify --chat auto
  [ "$stderr" = "nk-verify: model: the chat template has the format gemma" ]
  auto=$output
  run -0 --separate-stderr verify --chat gemma
  [ "$output" = "$auto" ] && [ -z "$stderr" ]
  run -0 --separate-stderr verify --chat auto -q
  [ -z "$stderr" ]
}

@test "a template is a text or a list in tokenizer_config.json; chat_template.jinja counts first" {
  echo '{"chat_template": "{{ \"[INST] \" + text + \"[/INST]\" }}"}' >model/tokenizer_config.json
  run -0 --separate-stderr verify --chat auto
  [[ "$stderr" == *"has the format mistral" ]]
  echo '{"chat_template": [{"name": "tool_use", "template": "x"},
    {"name": "default", "template": "<|user|>{{ text }}<|end|><|assistant|>"}]}' \
    >model/tokenizer_config.json
  run -0 --separate-stderr verify --chat auto
  [[ "$stderr" == *"has the format phi" ]]
  echo "{{ '[INST]' + text + '[/INST]' }}" >model/chat_template.jinja
  run -0 --separate-stderr verify --chat auto
  [[ "$stderr" == *"has the format mistral-tekken" ]]
}

@test "a template of another format, and of two, is an error that names its control tokens" {
  echo '<|turn>{{ text }}<turn|> a[i] [/SEP] <|turn> "<|im start|>"' >model/chat_template.jinja
  run -1 verify --chat auto
  [ "$output" = "nk-verify: --chat auto: model: its chat template is of another format: it has\
 <|turn> <turn|> [/SEP] (name one of the formats, or none)" ]
  echo '<|im_start|><|im_end|><start_of_turn><end_of_turn>' >model/chat_template.jinja
  run -1 verify --chat auto
  [[ "$output" == *"it has <|im_start|> <|im_end|> <start_of_turn> <end_of_turn> ("* ]]
  echo 'User: {{ text }}' >model/chat_template.jinja
  run -1 verify --chat auto
  [[ "$output" == *"of another format, without control tokens ("* ]]
  for lack in '<|im_sep|>' '<end_of_utterance>'; do
    echo "<|im_start|><|im_end|>$lack" >model/chat_template.jinja
    run -1 verify --chat auto
    [[ "$output" == *"of another format: it has <|im_start|>"* ]]
  done
}

@test "a model without a template: auto is an error" {
  run -1 verify --chat auto
  [ "$output" = "nk-verify: --chat auto: model: the model has no chat template (name one of the\
 formats, or none)" ]
  echo '{"chat_template": 7}' >model/tokenizer_config.json
  run -1 verify --chat auto
  [[ "$output" == *"has no chat template"* ]]
  echo '{"chat_template": [{"name": "rag", "template": "x"}, {"name": "tool\u0007"}, 7]}' \
    >model/tokenizer_config.json
  run -1 verify --chat auto
  [ "$output" = "nk-verify: --chat auto: model: none of the model's 3 chat templates is called\
 'default': 'rag', 'tool\x07' (name one of the formats, or none)" ]
}

@test "hostile templates: bytes are escaped, large ones refused" {
  printf '<\x01\xff\x1b[2J> <|a\xff\x07b|> \0 <|im_start|>\0' >model/chat_template.jinja
  run -1 verify --chat auto
  [[ "$output" == *'it has <|a\xFF\x07b|> <|im_start|> ('* ]]
  [ "$(wc -l <<<"$output")" -eq 1 ]
  head -c 5000000 /dev/zero | tr '\0' '<' >model/chat_template.jinja
  run -1 verify --chat auto
  [[ "$output" == *"its chat template has 5000000 bytes, the limit is 4194304"* ]]
  : >model/chat_template.jinja
  run -1 verify --chat auto
  [[ "$output" == *"without control tokens"* ]]
}

@test "a special token that the tokenizer lacks is named" {
  run -1 nk-verify --prompts "$prompts/chat-phi.tsv" "$data/gpt2-tiny" ids.tsv
  [ "$output" = "nk-verify: $prompts/chat-phi.tsv: row 1: the model's tokenizer has no token\
 '<|user|>': the prompt is not of this model's chat format" ]
  run -1 nk-run --chat gemma -p 'a {}' --ids 300 "$data/gpt2-tiny"
  [[ "$output" == *"--prompt (number 1): the model's tokenizer has no token '<start_of_turn>'"* ]]
  run -2 verify --chat chatml --prompts "$prompts/chat-chatml.tsv"
  [[ "$output" == *"the prompt writes special tokens itself: leave out --chat, or clear"* ]]
  run -2 verify --chat vicuna
  [[ "$output" == *"--chat: unknown format 'vicuna': auto, none, llama3, chatml, gemma,"* ]]
}

@test "the tables of many repetitions run on the shipped models" {
  printf 'id\n300\n500\n' >some.tsv
  for model in gpt2-tiny llama-tiny; do
    for table in echo20 repeat50; do
      nk-verify --prompts "$prompts/$table.tsv" "$data/$model" some.tsv >verdicts
      [ "$(wc -l <verdicts)" -eq 3 ]
    done
  done
  awk -F '\t' 'NR > 1 { n = gsub(/->/, "", $3); if (n != 21) exit 1 }' "$prompts/echo20.tsv"
  [ "$(grep -o '{}' "$prompts/repeat50.tsv" | wc -l)" -eq 50 ]
}
