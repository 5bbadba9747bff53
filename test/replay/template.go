package replay

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timeSlack is how far a recorded "about so long from now" may be off.
const timeSlack = 2500 * time.Millisecond

// Facts are the values blanks stand for during one file.
type Facts struct {
	URL   string
	Index uint64            // etcd index before the first step: ${I}, ${P}
	Stats map[string]int64  // counters before the first step: ${S:name}
	K     int               // iteration of a repeated step: ${k}
	Times map[string]string // ${TIME:name}: bound at first use
}

// blank finds ${...}.
var blank = regexp.MustCompile(`\$\{([^}]*)\}`)

// part is a piece of a template: literal text, or a blank to be matched.
type part struct {
	text string // the literal, or the expression of the blank
	open bool   // a blank whose value is not known beforehand
}

// split cuts a template into literals and open blanks.
func (f *Facts) split(template string) ([]part, error) {
	var parts []part
	literal := ""
	for pos := 0; ; {
		m := blank.FindStringSubmatchIndex(template[pos:])
		if m == nil {
			return append(parts, part{text: literal + template[pos:]}), nil
		}
		literal += template[pos : pos+m[0]]
		expr := template[pos+m[2] : pos+m[3]]
		pos += m[1]
		known, ok, err := f.value(expr)
		if err != nil {
			return nil, err
		}
		if ok {
			literal += known
			continue
		}
		parts = append(parts, part{text: literal}, part{text: expr, open: true})
		literal = ""
	}
}

// Expand replaces the blanks of a text that is to be sent.
func (f *Facts) Expand(template string) (string, error) {
	parts, err := f.split(template)
	if err != nil {
		return "", err
	}
	if len(parts) > 1 {
		return "", fmt.Errorf("${%s} has no value before an answer came", parts[1].text)
	}
	return parts[0].text, nil
}

// value gives the text of a blank that is known beforehand.
func (f *Facts) value(expr string) (text string, known bool, err error) {
	switch {
	case expr == "URL":
		return f.URL, true, nil
	case strings.HasPrefix(expr, "REP "):
		count, rest, _ := strings.Cut(expr[4:], " ")
		n, err := strconv.Atoi(count)
		return strings.Repeat(rest, max(n, 0)), true, err
	case strings.HasPrefix(expr, "S:"):
		name, offset := expr[2:], int64(0)
		if i := strings.IndexAny(name, "+-"); i >= 0 {
			offset, err = strconv.ParseInt(name[i:], 10, 64)
			name = name[:i]
		}
		return strconv.FormatInt(f.Stats[name]+offset, 10), true, err
	case expr == "" || !strings.ContainsRune("IPk", rune(expr[0])) || len(expr) > 1 && !strings.ContainsRune("+-", rune(expr[1])):
		return "", false, nil
	}
	n, err := f.sum(expr)
	if expr[0] == 'P' {
		return fmt.Sprintf("%020d", n), true, err
	}
	return strconv.FormatInt(n, 10), true, err
}

// sum computes I+5, k-1 and the like.
func (f *Facts) sum(expr string) (int64, error) {
	total, sign := int64(0), int64(1)
	for term := range strings.FieldsFuncSeq(strings.NewReplacer("+", " + ", "-", " - ").Replace(expr), func(r rune) bool { return r == ' ' }) {
		switch term {
		case "+":
			sign = 1
		case "-":
			sign = -1
		case "I", "P":
			total += sign * int64(f.Index)
		case "k":
			total += sign * int64(f.K)
		default:
			n, err := strconv.ParseInt(term, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("${%s}: %w", expr, err)
			}
			total += sign * n
		}
	}
	return total, nil
}

// Match compares a received text with a template and binds the names the template
// uses for the first time. sent is when the request went out. A nil error means a
// match.
func (f *Facts) Match(template, got string, sent time.Time) error {
	parts, err := f.split(template)
	if err != nil {
		return err
	}
	bound := maps.Clone(f.Times)
	if bound == nil {
		bound = map[string]string{}
	}
	m := matcher{sent: sent, known: bound, total: len(got)}
	if !m.match(parts, got) {
		if m.why != nil {
			return m.why
		}
		return fmt.Errorf("differs from byte %d on", m.reached)
	}
	f.Times = m.known
	return nil
}

// matcher tries a template against a text.
type matcher struct {
	sent    time.Time
	known   map[string]string // times bound so far
	total   int               // length of the whole text
	reached int               // the furthest byte up to which everything fitted
	why     error             // a blank that fitted the form but not its bounds
}

// match reports whether the parts cover text completely. Blanks take the
// longest text of their form that lets the rest match, ANY the shortest.
func (m *matcher) match(parts []part, text string) bool {
	m.reached = max(m.reached, m.total-len(text))
	if len(parts) == 0 {
		return text == ""
	}
	p, rest := parts[0], parts[1:]
	if !p.open {
		if after, ok := strings.CutPrefix(text, p.text); ok {
			return m.match(rest, after)
		}
		m.reached = max(m.reached, m.total-len(text)+common(text, p.text))
		return false
	}
	kind, arg, _ := strings.Cut(strings.Replace(p.text, " ", ":", 1), ":")
	longest := formOf(kind, text)
	if kind == "ANY" {
		for n := 0; n <= longest; n++ {
			if m.match(rest, text[n:]) {
				return true
			}
		}
		return false
	}
	for n := longest; n > 0; n-- {
		if formOf(kind, text[:n]) != n || !m.match(rest, text[n:]) {
			continue
		}
		if err := m.check(kind, arg, text[:n]); err != nil {
			m.why = fmt.Errorf("${%s}: %w", p.text, err)
			return false
		}
		return true
	}
	return false
}

// common returns the length of the common head of two texts.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// forms are the texts the open blanks take.
var forms = map[string]*regexp.Regexp{
	"INT":  regexp.MustCompile(`^-?[0-9]+`),
	"HEX":  regexp.MustCompile(`^[0-9a-f]{1,16}`),
	"TIME": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z`),
	"ANY":  regexp.MustCompile(`^[^\n]*`),
}

// formOf returns how many bytes at the head of text have the form, or -1.
func formOf(kind, text string) int {
	form, ok := forms[kind]
	if !ok {
		return -1
	}
	loc := form.FindStringIndex(text)
	if loc == nil {
		return -1
	}
	return loc[1]
}

// check applies what a blank asks beyond its form: bounds of a number, the
// name and the distance of a time.
func (m *matcher) check(kind, arg, text string) error {
	switch {
	case arg == "":
		return nil
	case kind == "INT":
		var low, high int64
		if _, err := fmt.Sscanf(arg, "%d..%d", &low, &high); err != nil {
			return err
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("%d is out of bounds", n)
		}
		return err
	case kind == "TIME":
		name, seconds, distant := strings.Cut(arg, ":")
		if was, ok := m.known[name]; ok {
			if was != text {
				return fmt.Errorf("time %s, was %s before", text, was)
			}
			return nil
		}
		m.known[name] = text
		if !distant {
			return nil
		}
		return m.near(text, seconds)
	}
	return nil
}

// near checks that a time lies about so many seconds after the request was sent.
func (m *matcher) near(text, seconds string) error {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return err
	}
	s, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}
	want := m.sent.Add(time.Duration(s * float64(time.Second)))
	if off := at.Sub(want).Abs(); off > timeSlack {
		return fmt.Errorf("time %s is %v off", text, off)
	}
	return nil
}
