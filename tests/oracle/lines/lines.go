// Package lines is what the oracle programs share: a question as a JSON value a line in, its answer a line out.
package lines

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Answer answers every question on standard input, and ends the program when one cannot be read.
func Answer[Question, Reply any](answer func(Question) Reply) {
	if err := run(answer); err != nil {
		fmt.Fprintf(os.Stderr, "oracle %s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(2)
	}
}

func run[Question, Reply any](answer func(Question) Reply) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for lines.Scan() {
		var question Question
		if err := json.Unmarshal(lines.Bytes(), &question); err != nil {
			return fmt.Errorf("a line is no question: %w", err)
		}
		if err := encoder.Encode(answer(question)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return out.Flush()
}
