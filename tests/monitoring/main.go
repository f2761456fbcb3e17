// Command monitoring checks PromQL against what a server exports, with Prometheus' own parsers.
//
// Stdin: a JSON value, Question. Stdout: a JSON array of faults, none of them for expressions that can work.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
)

// Question is what is asked.
type Question struct {
	// Scrapes are answers of /metrics, as OpenMetrics.
	Scrapes []string `json:"scrapes"`
	// Documented are values that labels of a metric may have, besides those that were scraped.
	Documented map[string][]string `json:"documented"`
	// Others are metrics that come from elsewhere, and their labels.
	Others map[string][]string `json:"others"`
	// Target are the labels that a scrape adds to every series.
	Target      []string     `json:"target"`
	Expressions []Expression `json:"expressions"`
}

// Expression is one query, where it stands, and the labels that its texts show of a result.
type Expression struct {
	Where string   `json:"where"`
	Expr  string   `json:"expr"`
	Shown []string `json:"shown"`
}

func main() {
	var question Question
	if err := json.NewDecoder(os.Stdin).Decode(&question); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	faults, err := answer(question)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(faults)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func answer(question Question) ([]string, error) {
	known, err := exported(question)
	if err != nil {
		return nil, err
	}
	faults := []string{}
	for _, expression := range question.Expressions {
		check := check{known: known, target: question.Target}
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression.Expr)
		if err != nil {
			check.fault("%v", err)
		} else {
			given := check.labels(parsed)
			for _, label := range expression.Shown {
				if !slices.Contains(given, label) {
					check.fault("the label %s is shown, and is none of the result's: %v", label, given)
				}
			}
		}
		for _, fault := range check.faults {
			faults = append(faults, expression.Where+": "+expression.Expr+": "+fault)
		}
	}
	return faults, nil
}

// series are the labels of a metric, and the values that were seen of each; nil where any value may be.
type series map[string][]string

// exported reads the scrapes.
func exported(question Question) (map[string]series, error) {
	known := map[string]series{}
	for name, of := range question.Others {
		known[name] = series{}
		for _, label := range of {
			known[name][label] = nil
		}
	}
	for _, scrape := range question.Scrapes {
		scraped := textparse.NewOpenMetricsParser([]byte(scrape), labels.NewSymbolTable())
		for {
			entry, err := scraped.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("what is exported cannot be read: %w\n%s", err, scrape)
			}
			if entry != textparse.EntrySeries {
				continue
			}
			var found labels.Labels
			scraped.Labels(&found)
			name := found.Get(labels.MetricName)
			if known[name] == nil {
				known[name] = series{}
			}
			found.Range(func(label labels.Label) {
				if label.Name != labels.MetricName {
					known[name][label.Name] = append(append(known[name][label.Name], label.Value), question.Documented[name]...)
				}
			})
		}
	}
	return known, nil
}

type check struct {
	known  map[string]series
	target []string
	faults []string
}

func (c *check) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// labels says which labels the result of an expression has, and finds what cannot be on the way.
func (c *check) labels(node parser.Expr) []string {
	switch node := node.(type) {
	case *parser.ParenExpr:
		return c.labels(node.Expr)
	case *parser.UnaryExpr:
		return c.labels(node.Expr)
	case *parser.StepInvariantExpr:
		return c.labels(node.Expr)
	case *parser.SubqueryExpr:
		return c.labels(node.Expr)
	case *parser.MatrixSelector:
		return c.labels(node.VectorSelector)
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	case *parser.VectorSelector:
		return c.selector(node)
	case *parser.AggregateExpr:
		within := c.labels(node.Expr)
		c.have(node.Grouping, within)
		if node.Without {
			return without(within, node.Grouping)
		}
		return node.Grouping
	case *parser.BinaryExpr:
		return c.binary(node)
	case *parser.Call:
		return c.call(node)
	}
	c.fault("%T is not known to this check", node)
	return nil
}

func (c *check) selector(node *parser.VectorSelector) []string {
	of, ok := c.known[node.Name]
	if !ok {
		c.fault("there is no metric %s", node.Name)
		return nil
	}
	for _, matcher := range node.LabelMatchers {
		values, ok := of[matcher.Name]
		if matcher.Name == labels.MetricName || slices.Contains(c.target, matcher.Name) {
			continue
		}
		if !ok {
			c.fault("%s has no label %s", node.Name, matcher.Name)
			continue
		}
		// Each alternative that is written out must be a value that there is.
		for _, value := range strings.Split(matcher.Value, "|") {
			if values != nil && !slices.Contains(values, value) {
				c.fault("%s of %s is never %q, but %v", matcher.Name, node.Name, value, unique(values))
			}
		}
	}
	given := slices.Clone(c.target)
	for label := range of {
		given = append(given, label)
	}
	return unique(given)
}

func (c *check) binary(node *parser.BinaryExpr) []string {
	left, right := c.labels(node.LHS), c.labels(node.RHS)
	if node.VectorMatching == nil { // with a number
		return unique(append(slices.Clone(left), right...))
	}
	matching := node.VectorMatching
	c.have(matching.MatchingLabels, left)
	c.have(matching.MatchingLabels, right)
	c.have(matching.Include, right)
	switch {
	case node.Op == parser.LOR:
		return unique(append(slices.Clone(left), right...))
	case matching.Card == parser.CardOneToOne && !node.Op.IsComparisonOperator() && matching.On:
		return matching.MatchingLabels
	}
	return append(slices.Clone(left), matching.Include...)
}

func (c *check) call(node *parser.Call) []string {
	var given []string
	for _, arg := range node.Args {
		of := c.labels(arg)
		if arg.Type() == parser.ValueTypeVector || arg.Type() == parser.ValueTypeMatrix {
			given = of
		}
	}
	switch node.Func.Name {
	case "rate", "irate", "increase":
		name := node.Args[0].(*parser.MatrixSelector).VectorSelector.(*parser.VectorSelector).Name
		if !slices.ContainsFunc([]string{"_total", "_bucket", "_count", "_sum"}, func(end string) bool { return strings.HasSuffix(name, end) }) {
			c.fault("%s is no counter", name)
		}
	case "histogram_quantile":
		c.have([]string{"le"}, given)
		return without(given, []string{"le"})
	case "absent", "vector", "time", "scalar":
		return nil
	case "label_replace", "label_join":
		c.fault("%s is not known to this check", node.Func.Name)
	}
	return given
}

// have finds the labels that a vector has not.
func (c *check) have(wanted, given []string) {
	for _, label := range wanted {
		if !slices.Contains(given, label) {
			c.fault("there is no label %s here, but %v", label, given)
		}
	}
}

func without(labels, left []string) []string {
	return slices.DeleteFunc(slices.Clone(labels), func(label string) bool { return slices.Contains(left, label) })
}

func unique(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}
