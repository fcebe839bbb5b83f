//! How an instruction computes: a function over placed buffers, chosen when the plan is made.
//!
//! Buffers are contiguous and row-major. A kernel that declares an in-place pair must expect that input and output are
//! the same memory ([`Call::aliased`]) and then use the pointer helpers of `ops`, never two slices.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use crate::tensor::{DType, Element, Tensor};

use super::Misfit;

/// Seed and step of counter-based random numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Random {
    pub seed: u64,
    pub step: u64,
}

/// A kernel and what the planner must know about it.
pub struct Kernel {
    pub run: Run,
    /// Bytes of scratch memory, 64-byte aligned.
    pub scratch: usize,
    /// `(input, output)` pairs that may share memory.
    pub in_place: Cow<'static, [(usize, usize)]>,
    /// Floating-point operations, for the profile.
    pub flops: u64,
}

/// A function over placed buffers.
pub type KernelFn = Box<dyn Fn(&mut Call<'_>) + Send + Sync>;
/// A function over whole tensors.
pub type HostFn = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>, Misfit> + Send + Sync>;

pub enum Run {
    /// Output 0 is input 0 under another shape: no work, shared bytes.
    Alias,
    Compute(KernelFn),
    /// Whole tensors in and out, for rare things that are never hot (strings, data-dependent sizes).
    Host(HostFn),
}

impl Kernel {
    pub fn alias() -> Self {
        Self { run: Run::Alias, scratch: 0, in_place: Cow::Borrowed(&[]), flops: 0 }
    }

    pub fn compute(f: impl Fn(&mut Call<'_>) + Send + Sync + 'static) -> Self {
        Self { run: Run::Compute(Box::new(f)), scratch: 0, in_place: Cow::Borrowed(&[]), flops: 0 }
    }

    pub fn host(f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>, Misfit> + Send + Sync + 'static) -> Self {
        Self { run: Run::Host(Box::new(f)), scratch: 0, in_place: Cow::Borrowed(&[]), flops: 0 }
    }

    #[must_use]
    pub fn in_place(mut self, pairs: impl Into<Cow<'static, [(usize, usize)]>>) -> Self {
        self.in_place = pairs.into();
        self
    }

    #[must_use]
    pub fn scratch(mut self, bytes: usize) -> Self {
        self.scratch = bytes;
        self
    }

    #[must_use]
    pub fn flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.run {
            Run::Alias => "alias",
            Run::Compute(_) => "compute",
            Run::Host(_) => "host",
        };
        write!(f, "{kind}, {} B scratch, {} flops", self.scratch, self.flops)
    }
}

/// An input buffer.
#[derive(Clone, Copy)]
pub struct View<'a> {
    ptr: *const u8,
    bytes: usize,
    dtype: DType,
    marker: PhantomData<&'a [u8]>,
}

/// An output buffer.
pub struct ViewMut<'a> {
    ptr: *mut u8,
    bytes: usize,
    dtype: DType,
    marker: PhantomData<&'a mut [u8]>,
}

// SAFETY: views are plain pointers into buffers that the caller keeps alive and unshared for the call.
#[allow(unsafe_code)]
unsafe impl Send for View<'_> {}
#[allow(unsafe_code)]
unsafe impl Sync for View<'_> {}
#[allow(unsafe_code)]
unsafe impl Send for ViewMut<'_> {}
#[allow(unsafe_code)]
unsafe impl Sync for ViewMut<'_> {}

impl<'a> View<'a> {
    /// # Safety
    /// `ptr` points to `bytes` readable, initialised bytes for `'a`, aligned for `dtype`.
    #[allow(unsafe_code)]
    pub unsafe fn from_raw(ptr: *const u8, bytes: usize, dtype: DType) -> Self {
        Self { ptr, bytes, dtype, marker: PhantomData }
    }

    pub fn of(tensor: &'a Tensor) -> Self {
        let b = tensor.bytes();
        Self { ptr: b.as_ptr(), bytes: b.len(), dtype: tensor.dtype(), marker: PhantomData }
    }

    pub fn of_slice<T: Element>(elements: &'a [T]) -> Self {
        Self { ptr: elements.as_ptr().cast(), bytes: size_of_val(elements), dtype: T::DTYPE, marker: PhantomData }
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn ptr<T: Element>(&self) -> *const T {
        assert!(T::stores(self.dtype), "{} viewed as {}", self.dtype, T::DTYPE);
        self.ptr.cast()
    }

    /// Number of elements of type `T`.
    #[allow(clippy::len_without_is_empty)] // a count of elements of a type, not a collection
    pub fn len<T: Element>(&self) -> usize {
        self.bytes / size_of::<T>()
    }

    /// The elements. Must not be held while an aliased output is written.
    #[allow(unsafe_code)]
    pub fn slice<T: Element>(&self) -> &'a [T] {
        // SAFETY: `from_raw`'s contract; `ptr` checks the element type.
        unsafe { std::slice::from_raw_parts(self.ptr::<T>(), self.len::<T>()) }
    }

    #[allow(unsafe_code)]
    pub fn bytes(&self) -> &'a [u8] {
        // SAFETY: `from_raw`'s contract.
        unsafe { std::slice::from_raw_parts(self.ptr, self.bytes) }
    }
}

impl<'a> ViewMut<'a> {
    /// # Safety
    /// `ptr` points to `bytes` writable, initialised bytes for `'a`, aligned for `dtype`, shared with nothing but
    /// declared in-place inputs.
    #[allow(unsafe_code)]
    pub unsafe fn from_raw(ptr: *mut u8, bytes: usize, dtype: DType) -> Self {
        Self { ptr, bytes, dtype, marker: PhantomData }
    }

    pub fn of(tensor: &'a mut Tensor) -> Self {
        let dtype = tensor.dtype();
        let b = tensor.bytes_mut();
        Self { ptr: b.as_mut_ptr(), bytes: b.len(), dtype, marker: PhantomData }
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn ptr<T: Element>(&mut self) -> *mut T {
        assert!(T::stores(self.dtype), "{} viewed as {}", self.dtype, T::DTYPE);
        self.ptr.cast()
    }

    #[allow(clippy::len_without_is_empty)] // as in `View`
    pub fn len<T: Element>(&self) -> usize {
        self.bytes / size_of::<T>()
    }

    #[allow(unsafe_code)]
    pub fn slice<T: Element>(&mut self) -> &mut [T] {
        let n = self.len::<T>();
        // SAFETY: `from_raw`'s contract; `ptr` checks the element type.
        unsafe { std::slice::from_raw_parts_mut(self.ptr::<T>(), n) }
    }

    #[allow(unsafe_code)]
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `from_raw`'s contract.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.bytes) }
    }
}

/// One call of a kernel.
pub struct Call<'a> {
    pub inputs: &'a [View<'a>],
    pub outputs: &'a mut [ViewMut<'a>],
    /// 64-byte aligned; content undefined.
    pub scratch: &'a mut [u8],
    pub random: Random,
}

impl<'a> Call<'a> {
    /// Elements of input `i`.
    pub fn input<T: Element>(&self, i: usize) -> &'a [T] {
        self.inputs[i].slice()
    }

    /// Elements of output `o`.
    pub fn output<T: Element>(&mut self, o: usize) -> &mut [T] {
        self.outputs[o].slice()
    }

    /// Whether input `i` and output `o` are the same memory.
    pub fn aliased(&self, i: usize, o: usize) -> bool {
        std::ptr::eq(self.inputs[i].ptr, self.outputs[o].ptr)
    }
}

/// Scratch memory for one call outside a plan.
pub struct AlignedScratch(Tensor);

impl AlignedScratch {
    pub fn new(bytes: usize) -> Self {
        Self(Tensor::zeros(DType::U8, &[bytes]))
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
}
