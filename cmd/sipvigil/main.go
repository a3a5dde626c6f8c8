// Command sipvigil is a SIP back-to-back user agent that supervises its calls,
// and the operator's tool to look at them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed   = 1 // it was tried, and did not work
	exitUsage    = 2 // wrong flag or configuration, or nobody to talk to
	exitNoAnswer = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	t := tool{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, now: time.Now,
		terminal: terminalOf(os.Stdout, os.Getenv), errors: terminalOf(os.Stderr, os.Getenv)}
	code := t.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// tool is the command line and what surrounds it.
type tool struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	terminal                // that stdout is
	errors         terminal // that stderr is
}

// root is the command that has all others.
func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sipvigil",
		Short:         "A SIP back-to-back user agent that knows whether its calls are still alive",
		Args:          arguments(0, 0),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	root.SetFlagErrorFunc(wrongFlag)
	root.AddCommand(t.serve(), t.demo(), t.calls(), t.trunks(), t.nodes(), t.events(), t.cdrs(), t.progress(), t.top(), t.ping(), t.tokens(), t.config(), t.doctor(), t.version())
	return root
}

// run executes one command line and returns its exit code.
func (t *tool) run(ctx context.Context, args []string) int {
	root := t.root()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Args = knownCommand
		}
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitUsage // what cobra itself finds wrong
	if e := (exitError{}); errors.As(err, &e) {
		code = e.code
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(t.stderr, "sipvigil: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return code
}

// exitError is an error that asks for its own exit code.
type exitError struct {
	code int
	err  error
}

// Error is the text that is printed, one fault a line.
func (e exitError) Error() string { return e.err.Error() }

// Unwrap returns the error itself.
func (e exitError) Unwrap() error { return e.err }

func failed(err error) error { return exitError{exitFailed, err} }

func usage(err error) error { return exitError{exitUsage, err} }
