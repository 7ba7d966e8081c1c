package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestInput: what is written arrives whole, and a reader of what nobody writes is set free.
func TestInput(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	got, err := io.ReadAll(input{t.Context(), bufio.NewReaderSize(strings.NewReader(text), 16)})
	if err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	silent, writer := io.Pipe()
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(t.Context(), cancel)
	go cancel()
	if _, err := io.ReadAll(input{ctx, silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was called off", err)
	}
}
