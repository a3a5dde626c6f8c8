package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// anyNumber is for a command that takes as many arguments as there are.
const anyNumber = -1

// arguments is for a command that takes from least to most of them. Each names
// something: an empty one is a variable of a script that was not set.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > most && most != anyNumber && cmd.HasSubCommands():
			return asHelped(cmd, fmt.Errorf("there is no command %q%s", cmd.CommandPath()+" "+args[0], meant(cmd, args[0])))
		case len(args) < least, len(args) > most && most != anyNumber:
			return asHelped(cmd, fmt.Errorf("%d arguments, where the form is %s", len(args), cmd.UseLine()))
		}
		for i, arg := range args {
			if arg == "" {
				return asHelped(cmd, fmt.Errorf("argument %d is empty", i+1))
			}
		}
		return nil
	}
}

// knownCommand is for help about a command, which is there.
func knownCommand(help *cobra.Command, args []string) error {
	cmd, rest, err := help.Root().Find(args)
	if err != nil || len(rest) == 0 {
		return err
	}
	return arguments(0, 0)(cmd, rest)
}

// meant is a question for the commands that are spelt nearly like that.
func meant(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return ", is " + strings.Join(near, " or ") + " meant?"
	}
	return ""
}

// forms are what the values of flags look like, by their types.
var forms = map[string]string{
	"bool":     "true or false",
	"duration": "a length of time such as 500ms, 30s or 3m",
	"float64":  "a number",
	"int":      "a whole number",
}

// wrongFlag is what cobra finds wrong with a flag, in words.
func wrongFlag(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		if form, ok := forms[bad.GetFlag().Value.Type()]; ok {
			err = fmt.Errorf("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), form)
		}
	}
	return asHelped(cmd, err)
}

// asHelped adds where help is.
func asHelped(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
}
