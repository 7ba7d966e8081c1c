package lint

import (
	"cmp"
	"strings"
)

// A blame looks for the place that a plugin's message is about: the value whose path
// the message gives, else whose own words it quotes, else whose key it names; of
// several the deepest, and of those the one that is told first.
type blame struct {
	message string
	src     []byte

	at    int    // where it is: at first, the whole plugin
	path  string // from the plugin on
	score [3]int
}

func (b *blame) look(n *node, path string) {
	for i := range n.members {
		m := &n.members[i]
		below := n.below(i, path)
		if m.key != "type" {
			b.consider(m, below)
		}
		b.look(&m.node, below)
	}
}

func (b *blame) consider(m *member, path string) {
	told := [3]int{wordAt(b.message, path), -1, wordAt(b.message, m.key)}
	if m.kind == 0 {
		told[1] = wordAt(b.message, strings.Trim(string(b.src[m.start:m.end]), `"`))
	}
	depth := 1 + strings.Count(path, ".") + strings.Count(path, "[")
	for i, at := range told {
		score := [3]int{len(told) - i, depth, -at}
		if at >= 0 && compare(score, b.score) > 0 {
			b.at, b.path, b.score = m.keyAt, path, score
		}
	}
}

func compare(a, b [3]int) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
}

// wordAt returns where word stands in s with nothing of a word or number beside it,
// or -1.
func wordAt(s, word string) int {
	const inside = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./"
	if word == "" || word == "true" || word == "false" || word == "null" {
		return -1
	}
	for from := 0; ; {
		i := strings.Index(s[from:], word)
		if i < 0 {
			return -1
		}
		begin, end := from+i, from+i+len(word)
		before := begin == 0 || !strings.ContainsRune(inside, rune(s[begin-1]))
		after := end == len(s) || !strings.ContainsRune(inside, rune(s[end])) || (s[end] == '.' && end+1 == len(s))
		if before && after {
			return begin
		}
		from = end
	}
}
