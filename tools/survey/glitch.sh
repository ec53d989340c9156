# Which tokens are glitch tokens, and how sure are we?
top=200 controls=400 drawn=3000 agreed=20000
[ $quick = 0 ] || top=50 controls=200 drawn=400 agreed=1000

section 'Which tokens are glitch tokens, and how sure are we?'
text 'Training pushes the output rows of tokens that it never shows along one path: they end in one' \
  'ball. A token is ranked by how its rows look as if it were one of them (the score is 1 for a' \
  'typical row in the ball, 0 for a typical token), and then the model is asked to repeat it.'

step ranking 'Rank the vocabulary by its weights' <<END
nk-glitch $model -o ranking.tsv
nk-glitch $model --summary -o ranking-summary.tsv
nk-summary --share 'q_value<=0.05' -w 'q_value>=0' -o listed.tsv ranking.tsv
nk-plot scatter -x exposure -y input_norm --mark 'q_value<=0.05' --label 10 --label-by score \\
  --xlabel "distance from the ball of rows that training never showed (log of its radius)" \\
  --ylabel "norm of the input row" --title "Tokens that the weights list, and the others" \\
  -o ranking.svg ranking.tsv
END
claim listed ranking share 'Of the tokens that text can contain the weights list {} as hardly trained, at a false discovery rate of 5%.' \
  listed.tsv
text "$(awk -F '\t' '$1 == "conclusion" { print "What the list is worth: " $2 "." }' ranking-summary.tsv 2>/dev/null)"
picture ranking.svg ranking 'Each token by the distance of its output row from those of unused tokens and by the norm of its input row; listed tokens are red.' \
  'The vocabulary by two distances; the tokens listed at a false discovery rate of 5% in red.'

if [ -n "$truth" ]; then
  before=$chain # no other step depends on this one
  step truth 'Compare the list with how often training showed each token' <<END
cp $(printf %q "$truth") truth.tsv  # $(b2sum <"$truth" | cut -c 1-16)
nk-glitch $model --truth truth.tsv -o indicators.tsv
by=\$(head -n 1 truth.tsv | grep -qw steps && echo steps || echo count)
nk-summary --with truth.tsv -w 'q_value>=0' -w "\$by==0" --share 'q_value<=0.05' -o found.tsv ranking.tsv
nk-summary --with truth.tsv -w 'q_value<=0.05' --share "\$by>10" -o false.tsv ranking.tsv
END
  chain=$before
  claim found truth share 'Of the tokens that training never showed the list has {}.' found.tsv
  claim false truth share 'Of the listed tokens training showed {} in more than 10 steps.' false.tsv
  table indicators.tsv truth 'How well the score and the published indicators tell the tokens that training never showed from the others.' \
    'indicator,positives=never shown,auc=AUC,average_precision=average precision,spearman=rank correlation' 12
fi

if can runs 'What the model does with the tokens cannot be seen'; then
  step verdicts "Ask the model to repeat them, or at least the first $top, and ordinary tokens" \
    $((3 * ($(info tokens) / 20 + controls))) <<END
awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
  \$at["q_value"] != "" && (\$at["q_value"] <= 0.05 || ++n <= $top)' ranking.tsv > candidates.tsv
nk-verify $model$chat_option --controls $controls --seed $seed -o verdicts.tsv candidates.tsv
nk-summary --between 'control==0,control==1' --share 'max_prob<0.1' --share 'max_prob<0.001' \\
  -o repeated.tsv verdicts.tsv
nk-summary -b category -w 'control==0' --share 'max_prob<0.1' -o categories.tsv verdicts.tsv
awk -F '\t' -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print "group", \$0; next }
  { print \$at["control"] == 1 ? "ordinary tokens" : "listed tokens", \$0 }' verdicts.tsv |
  nk-plot histogram -x max_prob --log x --by group --title 'How likely the model repeats a token' \\
    --xlabel 'largest probability of the token where it should be repeated' -o verdicts.svg
awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
  \$at["control"] == 0 && \$at["verdict"] ~ /verified/' verdicts.tsv > glitch.tsv
END
  text 'The model fails to repeat a token where it gives it a probability below 0.1 in all prompts, and' \
    'fails clearly where it is below 0.001 (the thresholds of Land and Bartolo, 2024). Models that are' \
    'small fail to repeat ordinary words, too: then the clear failures tell the groups apart. Intervals' \
    'are about other tokens in the same prompts.'
  claim verified verdicts share 'Of the listed tokens and the next by rank the model fails to repeat {}.' \
    repeated.tsv 'between=control==0' 'statistic=share max_prob<0.1'
  claim control verdicts share 'Of ordinary tokens of the same lengths and categories it fails to repeat {}.' \
    repeated.tsv 'between=control==1' 'statistic=share max_prob<0.1'
  claim clearly verdicts share 'Of the listed tokens and the next by rank the model clearly fails to repeat {}.' \
    repeated.tsv 'between=control==0' 'statistic=share max_prob<0.001'
  claim clearly_control verdicts share 'Of ordinary tokens of the same lengths and categories it clearly fails to repeat {}.' \
    repeated.tsv 'between=control==1' 'statistic=share max_prob<0.001'

  picture verdicts.svg verdicts 'Histogram of the largest probability of the token where it should be repeated, for listed tokens and ordinary ones.' \
    'How likely the model repeats listed tokens and ordinary ones.'
  table categories.tsv verdicts 'Listed tokens by category: the share that the model fails to repeat.' \
    'category,value=not repeated,low,high,n=tokens' 20
  table glitch.tsv verdicts 'The glitch tokens: listed, and not repeated.' \
    'id,text,category,score,q_value,max_prob=probability,verdict,other_token=part of' 30

  step agreement "Ask for $agreed tokens of the whole vocabulary whether weights and behaviour agree" \
    $((3 * agreed)) <<END
{ head -n 1 ranking.tsv && tail -n +2 ranking.tsv | sort -n; } | awk '$(few $agreed)' > some.tsv
nk-verify $model$chat_option --agree --summary -o agreement.tsv some.tsv
END
  claim kappa agreement '' "In a sample of the tokens that a prompt can have, the agreement of weights and behaviour, Cohen's kappa, is {}." \
    agreement.tsv cell=kappa
  table agreement.tsv agreement 'Tokens that the weights list, and tokens that the model fails to repeat.' \
    'cell,tokens,value=share,low,high' 10

  step ordinary "Draw ordinary tokens that the model repeats" $((3 * drawn)) <<END
{ echo id
  awk -F '\t' 'NR == FNR { skip[\$1]; next } FNR > 1 && \$3 == "ok" && !(\$1 in skip) { print \$1 }' \\
    candidates.tsv ranking.tsv | sort -n; } | awk '$(few $drawn)' > drawn.tsv
nk-verify $model$chat_option --controls 0 drawn.tsv |
  awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; print; next }
    \$at["verdict"] ~ /rejected/' > ordinary.tsv
END
fi
