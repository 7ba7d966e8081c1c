package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// A Plugin makes, changes or accounts for interfaces of containers. Calls for
// different containers come concurrently; calls for one container do not. No
// method keeps or changes the Request or what it points to.
type Plugin interface {
	// Add makes the attachment and returns its result: Request.Prev, passed on or
	// changed, where there is one. It holds no undo code: who calls Add calls Del
	// when it fails, unless IsUntouched of the error (see the function Add).
	Add(ctx context.Context, r *Request) (*Result, error)

	// Check returns an error if anything that Add made is missing or changed.
	// Request.Prev is the final result of the whole chain.
	Check(ctx context.Context, r *Request) error

	// Del removes whatever Add made, going on over failures and joining them. To
	// have nothing to remove is no error, nor is a missing Request.NetNS,
	// Request.Prev or capability argument.
	Del(ctx context.Context, r *Request) error

	// GC removes what was made for attachments of the network that are not in
	// Request.Valid, going on over failures. Only Attachment.Network is set.
	GC(ctx context.Context, r *Request) error

	// Status returns nil if an Add could be served now, else an Error with
	// CodeNotAvailable or CodeLimited.
	Status(ctx context.Context, r *Request) error
}

// A Finder finds the plugin that a configuration names by its "type". For a name
// that it does not know the error matches fs.ErrNotExist.
type Finder interface {
	Find(pluginType string) (Plugin, error)
}

// A Registry is a Finder of linked-in plugins by type.
type Registry map[string]Plugin

// Find returns the plugin of that type.
func (r Registry) Find(pluginType string) (Plugin, error) {
	if p, ok := r[pluginType]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("plugin %q: %w", pluginType, fs.ErrNotExist)
}

// rollBackTime bounds the Del after a failed Add, which must also run when it was
// the end of the Add's own time that made it fail.
const rollBackTime = 30 * time.Second

// Add calls p.Add and, when that fails, p.Del, so that nothing is left: the one
// place where a single plugin's failed Add is undone. An Add that touched nothing
// (IsUntouched) is not undone.
func Add(ctx context.Context, p Plugin, r *Request) (*Result, error) {
	result, err := p.Add(ctx, r)
	if err == nil || IsUntouched(err) {
		return result, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollBackTime)
	defer cancel()
	undo := p.Del(ctx, r)
	if undo == nil || undo.Error() == err.Error() { // what stood in the way of both is told once
		return nil, err
	}
	return nil, errors.Join(err, fmt.Errorf("roll back: %w", undo))
}
