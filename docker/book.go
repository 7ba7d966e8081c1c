package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/seamnet/seam/state"
)

// A book holds all networks, or all endpoints, by their IDs: in files, which are what
// counts, and in memory, as questions about all of them must not read a folder.
type book[T any] struct {
	dir string

	mu    sync.Mutex
	pages map[string]*T            // not changed: a new value takes an old one's place
	held  map[string]chan struct{} // by ID, while someone works on it
}

// load reads the folder. With an error it has what could be read.
func (b *book[T]) load(id func(*T) string) error {
	all, err := state.List[T](b.dir)
	b.pages, b.held = make(map[string]*T), make(map[string]chan struct{})
	for _, page := range all {
		b.pages[id(page)] = page
	}
	return err
}

// hold waits until nobody else works on that ID, as long as ctx allows.
func (b *book[T]) hold(ctx context.Context, id string) (release func(), err error) {
	for {
		b.mu.Lock()
		other, taken := b.held[id]
		if !taken {
			mine := make(chan struct{})
			b.held[id] = mine
			b.mu.Unlock()
			return func() { b.let(id, mine) }, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: another call is still at work on it: %w", short(id), context.Cause(ctx))
		}
	}
}

func (b *book[T]) let(id string, mine chan struct{}) {
	b.mu.Lock()
	delete(b.held, id)
	b.mu.Unlock()
	close(mine)
}

// get returns a copy of what is there, nil if there is nothing.
func (b *book[T]) get(id string) *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if page := b.pages[id]; page != nil {
		return new(*page)
	}
	return nil
}

// put writes a copy of page.
func (b *book[T]) put(id string, page *T) error {
	if err := state.Write(b.file(id), page); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pages[id] = new(*page)
	return nil
}

func (b *book[T]) remove(id string) error {
	if err := state.Remove(b.file(id)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pages, id)
	return nil
}

// all returns the pages of this moment. They are not to be changed.
func (b *book[T]) all() []*T {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*T, 0, len(b.pages))
	for _, page := range b.pages {
		all = append(all, page)
	}
	return all
}

func (b *book[T]) file(id string) string { return filepath.Join(b.dir, id) }

// isHeld reports whether someone works on that ID.
func (b *book[T]) isHeld(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, held := b.held[id]
	return held
}

func (b *book[T]) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pages)
}
