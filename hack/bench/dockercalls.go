package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// driverLog is what seamd says, as JSON, of each call that it answered.
type driverLog struct {
	file string
	read int64 // up to where
}

// lines returns what is new.
func (l *driverLog) lines() ([]byte, error) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(l.read, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	l.read += int64(len(text))
	return text, err
}

// parseCalls returns how long each call took, by method. One that failed is an error:
// nothing here is to fail.
func parseCalls(log []byte) (map[string][]time.Duration, error) {
	calls := make(map[string][]time.Duration)
	for text := range bytes.Lines(log) {
		var line struct {
			Msg, Method, Err string
			Took             time.Duration
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return nil, fmt.Errorf("log of seamd: %w: %s", err, text)
		}
		switch line.Msg {
		case "call failed":
			return nil, fmt.Errorf("seamd: %s: %s", line.Method, line.Err)
		case "call":
			calls[line.Method] = append(calls[line.Method], line.Took)
		}
	}
	return calls, nil
}

// calls takes down how long the driver took for what it was asked since the last time.
func (n *node) calls(crowd bool) error {
	text, err := n.log.lines()
	if err != nil {
		return err
	}
	byMethod, err := parseCalls(text)
	if err != nil {
		return err
	}
	for method, took := range byMethod {
		n.report.Calls = append(n.report.Calls, DockerCall{n.Engine.Name, crowd, method, took})
	}
	return nil
}
