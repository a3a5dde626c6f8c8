package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

const (
	// clearScreen begins a terminal anew.
	clearScreen = "\x1b[H\x1b[2J"
	// watchLeast and watchMost are the times between two looks. A server tells
	// what changes on its own node; what others do is looked for.
	watchLeast = time.Second
	watchMost  = 5 * time.Second
)

// askAgain is ask; with --watch it asks again when something has changed, and
// prints the answer if it is another one.
func (t *tool) askAgain(cmd *cobra.Command, wrong error, request func(context.Context, *client) (report, error)) error {
	if again, err := cmd.Flags().GetBool("watch"); err != nil || !again {
		return t.ask(cmd, wrong, request)
	}
	format := cmd.Flag("output").Value.String()
	c, err := t.client(cmd, wrong, checkFormat(format))
	if err != nil {
		return err
	}
	defer c.close()
	var shown string
	return t.watch(cmd.Context(), c, func(ctx context.Context) error {
		r, err := request(ctx, c)
		if err != nil {
			shown = "" // what is said about it is written over
			return err
		}
		var text strings.Builder
		if err := r.print(&text, format, t.terminal, t.now()); err != nil {
			return handled{failed(err)}
		}
		now := t.screenful(text.String())
		if t.width > 0 {
			now = clearScreen + now
		}
		if now == shown {
			return nil
		}
		shown = now
		if _, err := io.WriteString(t.stdout, now); err != nil {
			return handled{failed(fmt.Errorf("write: %w", err))}
		}
		return nil
	})
}

// watch shows a report again whenever something has changed, until ctx ends. Once
// it was shown, a server that does not answer is asked until it does again.
func (t *tool) watch(ctx context.Context, c *client, show func(context.Context) error) error {
	changed := make(chan struct{}, 1)
	nudge := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	nudge()
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	var following sync.WaitGroup
	following.Go(func() {
		ended <- c.follow(ctx, func(streamed) error { nudge(); return nil }, func(error) { nudge() })
	})
	defer following.Wait()
	defer stop()
	once, said := false, ""
	for {
		select {
		case err := <-ended:
			return err
		case <-changed:
		case <-time.After(watchMost - watchLeast):
		}
		var final handled
		switch err := show(ctx); {
		case ctx.Err() != nil:
			return nil // asked to end, perhaps while the server was
		case err == nil:
			once, said = true, ""
		case errors.As(err, &final):
			return final.error
		case !once:
			return err
		case err.Error() != said:
			said = err.Error()
			t.lost(err)
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(watchLeast):
		}
	}
}
