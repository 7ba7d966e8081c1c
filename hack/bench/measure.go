package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Cost is what one attachment's ADD or DEL took; of several at a time, each
// one's share.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration // user and system, of this process and of the programs it executed
}

func measure(f func() error) (Cost, error) {
	before, err := cpu()
	if err != nil {
		return Cost{}, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return Cost{}, err
	}
	wall := time.Since(start)
	after, err := cpu()
	return Cost{wall, after - before}, err
}

func cpu() (time.Duration, error) {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return 0, fmt.Errorf("getrusage: %w", err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum, nil
}

// operation is a contender's add or del.
type operation func(context.Context, *pod) error

// oneByOne returns what each of the pods took.
func oneByOne(ctx context.Context, pods []*pod, op operation) ([]Cost, error) {
	var costs []Cost
	for _, p := range pods {
		c, err := measure(func() error { return op(ctx, p) })
		if err != nil {
			return nil, err
		}
		costs = append(costs, c)
	}
	return costs, nil
}

// together lets all pods begin at once, and returns each one's share.
func together(ctx context.Context, pods []*pod, op operation) (Cost, error) {
	c, err := measure(func() error { return spread(ctx, pods, len(pods), op) })
	n := time.Duration(len(pods))
	return Cost{c.Wall / n, c.CPU / n}, err
}

// spread runs op for all pods, width at a time.
func spread(ctx context.Context, pods []*pod, width int, op operation) error {
	queue := make(chan *pod, len(pods))
	for _, p := range pods {
		queue <- p
	}
	close(queue)
	errs := make([]error, width)
	var workers sync.WaitGroup
	for i := range width {
		workers.Go(func() {
			for p := range queue {
				errs[i] = errors.Join(errs[i], op(ctx, p))
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// round attaches the pods and detaches them, and returns what that took. With alone
// set the pods come one after another, else all at once.
func round(ctx context.Context, c contender, pods []*pod, alone bool) (add, del []Cost, err error) {
	runtime.GC() // not on the clock
	if err := quiet(); err != nil {
		return nil, nil, err
	}
	pass := func(op operation) ([]Cost, error) {
		if alone {
			return oneByOne(ctx, pods, op)
		}
		cost, err := together(ctx, pods, op)
		return []Cost{cost}, err
	}
	if add, err = pass(c.add); err != nil {
		return nil, nil, err
	}
	del, err = pass(c.del)
	return add, del, err
}

// quiet waits until nobody holds the kernel's lock of links, which the removal of
// namespaces, elsewhere on the machine too, does for long.
func quiet() error {
	const (
		soon   = time.Millisecond
		enough = 10
		limit  = time.Minute
	)
	s, err := dial(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer s.close()
	loopback := int32(1)
	calm := 0
	for start := time.Now(); calm < enough && time.Since(start) < limit; {
		before := time.Now()
		if err := s.do(linkMessage(unix.RTM_SETLINK, 0, loopback, true)); err != nil {
			return fmt.Errorf("set lo up: %w", err)
		}
		if calm++; time.Since(before) > soon {
			calm = 0
		}
		time.Sleep(soon)
	}
	return nil
}
