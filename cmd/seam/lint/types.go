package lint

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// plain removes pointers. If some of the types tell what is in them, those that
// hold raw JSON are left out, as they take anything.
func plain(types []reflect.Type) []reflect.Type {
	var telling []reflect.Type
	for _, t := range types {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t != reflect.TypeFor[json.RawMessage]() && t.Kind() != reflect.Interface {
			telling = append(telling, t)
		}
	}
	return telling
}

// decodesItself reports whether a type's fields say nothing about its JSON.
func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fieldTypes returns the types of the fields that hold the key's value.
func fieldTypes(types []reflect.Type, key string) []reflect.Type {
	var found []reflect.Type
	for _, t := range types {
		each(t, func(name string, field reflect.Type) {
			if strings.EqualFold(name, key) {
				found = append(found, field)
			}
		})
	}
	return found
}

// names returns the keys of all the types.
func names(types []reflect.Type) []string {
	var all []string
	for _, t := range types {
		each(t, func(name string, _ reflect.Type) { all = append(all, name) })
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// each calls f with the JSON name and type of each field, those of embedded
// structs included.
func each(t reflect.Type, f func(name string, field reflect.Type)) {
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		ft := field.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case field.Anonymous && name == "" && ft.Kind() == reflect.Struct:
			each(ft, f)
		case name != "" && name != "-" && field.IsExported():
			f(name, field.Type)
		case name == "" && field.IsExported():
			f(field.Name, field.Type)
		}
	}
}

// nearest returns the name that key was probably meant to be, or "".
func nearest(key string, names []string) string {
	best, distance := "", 1+min(2, len(key)/3)
	for _, n := range names {
		if d := edits(strings.ToLower(key), strings.ToLower(n)); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// edits counts the characters to change, insert, leave out or swap with the next
// one to get from a to b.
func edits(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
