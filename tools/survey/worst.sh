# worst
