//! Graphs from bytes: each byte is a choice.

use std::sync::LazyLock;

use onnx_ir::{AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

/// An operator: how many inputs and outputs it has at most, and its attributes, each with a letter for its type.
struct Operator {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    attributes: Vec<(&'static str, &'static str)>,
}

static OPERATORS: LazyLock<Vec<Operator>> = LazyLock::new(|| {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a word");
        let (name, inputs, outputs) = (word(), word(), word());
        let number = |text: &str| text.parse().expect("a number");
        let attributes = words.map(|word| word.split_once(':').expect("a type")).collect();
        Operator { name, inputs: number(inputs), outputs: number(outputs), attributes }
    };
    include_str!("../operators.txt").lines().map(line).collect()
});

/// Texts that attributes have.
const TEXTS: &str = "Affine DCR CRD HardSigmoid LEFT RIGHT LOWER LeakyRelu NONE NOTSET SAME_UPPER SAME_LOWER Relu \
    ScaledTanh Sigmoid Tanh UPPER VALID add align_corners asymmetric avg bicubic bidirectional bilinear border ceil \
    circular constant cubic edge floor forward half_pixel half_pixel_symmetric infinity linear max mean min mul nearest none \
    not_larger not_smaller pytorch_half_pixel reflect reflection reverse round_prefer_ceil round_prefer_floor stretch sum \
    tf_crop_and_resize wrap zeros TF IDF TFIDF tanh exact BRANCH_LEQ LEAF LOGISTIC SOFTMAX PROBIT SUM AVERAGE MIN MAX RBF LINEAR POLY L1 L2 a b ij,jk->ik bij,bjk ...i->... ii->i i,i-> ab,cd->abcd (a|b)* ,";

const SIZES: [i64; 16] = [0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 8, 16, 33, 1 << 33];

const INTEGERS: [i64; 24] = [
    0,
    1,
    -1,
    2,
    -2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    16,
    17,
    100,
    -100,
    1 << 20,
    1 << 31,
    -(1 << 31),
    1 << 40,
    i64::MAX,
    i64::MIN,
];

const FLOATS: [f32; 12] =
    [0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -0.7, 1e-30, 1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Numbers of `TensorProto.DataType`, those that most operators take first.
const DTYPES: [i32; 16] = [1, 1, 1, 1, 7, 7, 7, 9, 6, 2, 3, 11, 10, 8, 16, 22];

/// Versions of the operator set.
const OPSETS: [i64; 8] = [23, 21, 18, 17, 13, 11, 9, 7];

/// What is left of the bytes; zeros, once nothing is.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.byte() % all.len()]
    }

    /// Mostly small.
    fn integer(&mut self) -> i64 {
        match self.byte() {
            small @ 0..128 => small as i64 % 8,
            other => INTEGERS[other % INTEGERS.len()],
        }
    }

    fn integers(&mut self) -> Vec<i64> {
        (0..self.byte() % 9).map(|_| self.integer()).collect()
    }

    fn dims(&mut self) -> Vec<i64> {
        (0..self.byte() % 6).map(|_| self.of(&SIZES)).collect()
    }

    fn text(&mut self) -> Vec<u8> {
        let texts: Vec<&str> = TEXTS.split(' ').filter(|text| !text.is_empty()).collect();
        self.of(&texts).as_bytes().to_vec()
    }

    fn tensor(&mut self, name: &str) -> TensorProto {
        let mut tensor = TensorProto { name: name.to_owned(), ..TensorProto::default() };
        let few = self.byte();
        tensor.data_type = self.of(&DTYPES);
        // Sizes and indices are what many operators want.
        tensor.dims = if few % 3 == 0 { vec![(few / 3 % 6) as i64] } else { self.dims() };
        let wanted = tensor.dims.iter().try_fold(1_i64, |product, &dim| product.checked_mul(dim)).unwrap_or(1 << 20);
        let count = if wanted > 4096 { 7 } else { wanted as usize };
        // The values of a few bytes, over and over.
        let seeds: Vec<usize> = (0..count.min(12)).map(|_| self.byte()).collect();
        let seed = |at: usize| seeds[at % seeds.len()];
        let integer = |at: usize| if seed(at) < 200 { seed(at) as i64 % 11 - 2 } else { INTEGERS[seed(at) % 24] };
        match tensor.data_type {
            1 => tensor.float_data = (0..count).map(|at| FLOATS[seed(at) % FLOATS.len()]).collect(),
            11 => tensor.double_data = (0..count).map(|at| f64::from(FLOATS[seed(at) % FLOATS.len()])).collect(),
            7 => tensor.int64_data = (0..count).map(integer).collect(),
            8 => {
                tensor.string_data = (0..count).map(|at| vec![b'a' + seed(at) as u8 % 8; seed(at) % 5].into()).collect()
            }
            22 => tensor.raw_data = (0..count.div_ceil(2)).map(|at| seed(at) as u8).collect::<Vec<_>>().into(),
            _ => tensor.int32_data = (0..count).map(|at| integer(at) as i32).collect(),
        }
        tensor
    }

    fn attribute(&mut self, name: &str, kind: &str, depth: usize, known: &[String]) -> AttributeProto {
        let mut attribute = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
        let kind = match kind {
            "f" => {
                attribute.f = self.of(&FLOATS);
                AttributeType::FLOAT
            }
            "i" => {
                attribute.i = self.integer();
                AttributeType::INT
            }
            "s" => {
                attribute.s = self.text().into();
                AttributeType::STRING
            }
            "t" => {
                attribute.t = Some(self.tensor("")).into();
                AttributeType::TENSOR
            }
            "g" => {
                attribute.g = Some(self.graph(depth + 1, known)).into();
                AttributeType::GRAPH
            }
            "F" => {
                attribute.floats = (0..self.byte() % 6).map(|_| self.of(&FLOATS)).collect();
                AttributeType::FLOATS
            }
            "S" => {
                attribute.strings = (0..self.byte() % 5).map(|_| self.text().into()).collect();
                AttributeType::STRINGS
            }
            _ => {
                attribute.ints = self.integers();
                AttributeType::INTS
            }
        };
        attribute.type_ = kind.into();
        attribute
    }

    fn node(&mut self, depth: usize, known: &mut Vec<String>, next: &mut usize) -> NodeProto {
        let at = self.byte() * 256 + self.byte();
        let operator = &OPERATORS[at % OPERATORS.len()];
        let (domain, name) = operator.name.rsplit_once('.').unwrap_or(("", operator.name));
        let mut node = NodeProto { domain: domain.to_owned(), op_type: name.to_owned(), ..NodeProto::default() };
        for at in 0..operator.inputs {
            let choice = self.byte();
            // Most inputs are there, and one of the newest values.
            if choice % 8 == 7 || known.is_empty() {
                if choice % 16 == 15 {
                    break;
                }
                node.input.push(String::new());
            } else {
                let newest = known.len() - 1 - (choice / 8 % known.len().min(8 + at));
                node.input.push(known[newest].clone());
            }
        }
        for (name, kind) in &operator.attributes {
            if (*kind != "g" || depth < 2) && self.byte() % 4 != 0 {
                node.attribute.push(self.attribute(name, kind, depth, known));
            }
        }
        for _ in 0..1 + self.byte() % operator.outputs {
            node.output.push(format!("v{depth}_{next}"));
            known.push(format!("v{depth}_{next}"));
            *next += 1;
        }
        node
    }

    /// A graph of a few nodes that may use what is known around it.
    fn graph(&mut self, depth: usize, around: &[String]) -> GraphProto {
        let mut graph = GraphProto::default();
        let mut known = around.to_vec();
        // Graphs of one depth may stand beside each other, and not share names.
        let mut next = around.len() * 100;
        for _ in 0..self.byte() % 4 {
            let name = format!("v{depth}_{next}");
            next += 1;
            graph.input.push(ValueInfoProto { name: name.clone(), ..ValueInfoProto::default() });
            if depth == 0 || self.byte() % 4 == 0 {
                let dtype = self.of(&DTYPES);
                let dims = self.dims();
                let tensor =
                    graph.input.last_mut().expect("just pushed").type_.mut_or_insert_default().mut_tensor_type();
                tensor.elem_type = dtype;
                let shape = tensor.shape.mut_or_insert_default();
                for dim in dims {
                    shape.dim.push(Default::default());
                    // No size, no number: it is open.
                    if dim > 0 {
                        shape.dim.last_mut().expect("just pushed").set_dim_value(dim);
                    }
                }
            }
            known.push(name);
        }
        for _ in 0..self.byte() % 5 {
            let name = format!("v{depth}_{next}");
            next += 1;
            graph.initializer.push(self.tensor(&name));
            known.push(name);
        }
        let own = known.len();
        for _ in 0..1 + self.byte() % if depth == 0 { 8 } else { 3 } {
            graph.node.push(self.node(depth, &mut known, &mut next));
        }
        // Everything is asked for, the newest first or last.
        graph.output =
            known[own..].iter().map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
        if self.byte() % 2 == 1 {
            graph.output.reverse();
        }
        graph
    }
}

/// The model that these bytes describe.
pub fn model(bytes: &[u8]) -> ModelProto {
    let mut choices = Choices(bytes);
    let mut model = ModelProto::default();
    model.opset_import.push(Default::default());
    model.opset_import[0].version = choices.of(&OPSETS);
    model.graph = Some(choices.graph(0, &[])).into();
    model
}
