"""The two promises, shown by machines: each proof in a short form (`make test`) and a long one (`make prove`)."""
