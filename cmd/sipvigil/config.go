package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sipvigil/cmd/sipvigil/daemon"
)

func (t *tool) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or print a configuration",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Name every fault of the configuration; the exit code is 2 when there are any",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := t.load(cmd)
			if err := errors.Join(err, daemon.CheckFiles(&cfg)); err != nil {
				return usage(err)
			}
			_, err = fmt.Fprintln(t.stdout, "The configuration has no faults.")
			return err
		},
	}
	show := &cobra.Command{
		Use:   "print",
		Short: "Print what flags, environment, file and defaults come to, without passwords",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := t.load(cmd)
			if err != nil {
				return usage(err)
			}
			_, err = fmt.Fprint(t.stdout, cfg)
			return err
		},
	}
	configFlags(check.Flags())
	configFlags(show.Flags())
	cmd.AddCommand(check, show)
	return cmd
}
