mod bodies;
mod tensors;
