package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// Format is the value of -o. The zero value is a table.
type Format string

// The formats of results.
const (
	Table Format = ""
	Wide  Format = "wide"
	Name  Format = "name"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// OutputFlag adds -o with the given formats; Table is always one of them.
func OutputFlag(flags *pflag.FlagSet, f *Format, formats ...Format) {
	flags.VarP(&formatFlag{f, formats}, "output", "o", "`format` of the result: "+orList(formats))
}

type formatFlag struct {
	value   *Format
	allowed []Format
}

func (f *formatFlag) String() string {
	if f.value == nil {
		return ""
	}
	return string(*f.value)
}
func (f *formatFlag) Type() string { return "format" }
func (f *formatFlag) Set(text string) error {
	if !slices.Contains(f.allowed, Format(text)) {
		return fmt.Errorf("it is one of %s", orList(f.allowed))
	}
	*f.value = Format(text)
	return nil
}

func orList(formats []Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// Encode writes v as JSON or YAML.
func (f Format) Encode(w io.Writer, v any) error {
	var raw []byte
	var err error
	if f == YAML {
		raw, err = yaml.Marshal(v)
	} else {
		raw, err = json.MarshalIndent(v, "", "    ")
		raw = append(raw, '\n')
	}
	if err == nil {
		_, err = w.Write(raw)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
